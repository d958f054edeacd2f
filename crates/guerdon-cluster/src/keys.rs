//! The names of all keys and channels of a deployment. `g1` is the number of the layout. The part in
//! braces is what Redis Cluster places keys by: all keys of one script have the same.

use sha2::{Digest as _, Sha256};

/// The number of channels for the ends of calls.
const CHANNEL_DIGITS: usize = 2;

/// The names of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { prefix: format!("g1:{namespace}:") }
    }

    fn name(&self, tail: &str) -> String {
        format!("{}{tail}", self.prefix)
    }

    /// The stored value of a question.
    pub(crate) fn answer(&self, key: &str) -> String {
        self.name(&format!("{{{key}}}:a"))
    }

    /// The lease of the call of a question.
    pub(crate) fn lease(&self, key: &str) -> String {
        self.name(&format!("{{{key}}}:l"))
    }

    /// The channel of the end of a call. The message is the question's key.
    pub(crate) fn done(&self, key: &str) -> String {
        let digits = key.get(..CHANNEL_DIGITS).unwrap_or("__");
        self.name(&format!("d:{digits}"))
    }

    /// The pattern of all channels of [`Keys::done`].
    pub(crate) fn all_done(&self) -> String {
        self.name("d:*")
    }

    /// The counts of a quota.
    pub(crate) fn quota(&self, name: &str) -> String {
        self.name(&format!("{{{}}}:q", short(name)))
    }

    /// The pause that an address asked for.
    pub(crate) fn pause(&self, name: &str) -> String {
        self.name(&format!("{{{}}}:p", short(name)))
    }

    /// The channel of pauses. A message is the name's hash and the milliseconds.
    pub(crate) fn pauses(&self) -> String {
        self.name("p")
    }

    /// The replicas, by the time of their last beat.
    pub(crate) fn replicas(&self) -> String {
        self.name("r")
    }

    /// An account of a budget.
    pub(crate) fn account(&self, scope: &str, account: &str) -> String {
        self.name(&format!("{{{}}}:b:{}", short(scope), short(account)))
    }

    /// The holds of a scope, by their end.
    pub(crate) fn hold_ends(&self, scope: &str) -> String {
        self.name(&format!("{{{}}}:z", short(scope)))
    }

    /// The holds of a scope: their amounts and accounts.
    pub(crate) fn holds(&self, scope: &str) -> String {
        self.name(&format!("{{{}}}:h", short(scope)))
    }
}

/// A name as 32 hexadecimal digits. Names hold URLs and names of runs, of any length.
pub(crate) fn short(name: &str) -> String {
    guerdon_text::hex(&Sha256::digest(name.as_bytes())[..16])
}
