//! One question about one turn: rendering it, and reading the answer into a verdict. Nothing here
//! does I/O.

pub(crate) mod answer;
pub(crate) mod case;
pub(crate) mod digest;
pub(crate) mod expected;
pub(crate) mod forms;
pub(crate) mod key;
pub(crate) mod listing;
pub(crate) mod nonce;
pub(crate) mod pairing;
pub(crate) mod question;
pub(crate) mod reasoning;
pub(crate) mod render;
pub(crate) mod reply;
mod scan;
pub(crate) mod schema;
pub(crate) mod turn_text;
mod unique_json;
pub(crate) mod verdict;
