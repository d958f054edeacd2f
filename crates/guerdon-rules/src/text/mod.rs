//! The text of a message, prepared once for all rules: folded, with its literals and numbers found.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `normalise/` | Folding of spellings that look alike, with a map to the original |
//! | `literals.rs` | All rules' literals in one automaton, and their hits in a text |
//! | `span_index.rs` | An index of hits for look-ups by window |
//! | `near.rs` | Words that must, or must not, be near a place |
//! | `sentences.rs` | Ends of sentences, and the window around a place |
//! | `speech/` | How words are meant: negated, asked, reported |
//! | `tokens.rs` | Tokens and sentences for the checks |
//! | `number/` | Numbers with their units |
//! | `present.rs` | The set of characters that occur in a text, approximated |
//! | `steps.rs` | Counts loop steps in tests |

pub(crate) mod literals;
pub(crate) mod near;
pub(crate) mod normalise;
pub(crate) mod number;
pub(crate) mod present;
pub(crate) mod sentences;
pub(crate) mod span_index;
pub(crate) mod speech;
pub(crate) mod steps;
pub(crate) mod tokens;
