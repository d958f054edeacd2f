//! Two replies of a group in one question. They are shown as a [listing](crate::ask::listing), in
//! either order; the answer names the better one for each criterion, or says that there is none.

mod answer;
mod schema;

pub(crate) use answer::PairContract;
pub(crate) use schema::PairSchema;

/// The answer that neither reply is better.
pub(crate) const TIE: &str = "tie";

/// The level of a finding that names the better reply.
pub(crate) const PREFERRED: &str = "preferred";
