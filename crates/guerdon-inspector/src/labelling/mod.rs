//! Labels by people: blind pairs of a group, and levels of a criterion.
//!
//! | file | content |
//! |---|---|
//! | `answer.rs` | an answer, as a line of the labels' file |
//! | `next.rs` | what a rater is asked next |
//! | `agreement.rs` | agreement of two raters |
//! | `export.rs` | the answers in the forms of other commands |

mod agreement;
mod answer;
mod export;
mod next;

pub use agreement::{Agreement, agreements};
pub use answer::{Answer, LevelAnswer, PairAnswer};
pub use export::{LabelForm, export};
pub use next::{AskedPair, AskedTurn, next_pair, next_turn, pair_of, turn_of};
