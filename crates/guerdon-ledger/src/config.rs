//! Settings of a ledger.

/// The texts that a ledger keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Texts {
    /// Everything that the request and the reply have.
    #[default]
    Full,
    /// A hash of each dialogue in its place. Quotes and explanations in results are left out.
    Hash,
    /// None. Quotes and explanations in results are left out.
    None,
}
