//! Named source texts, diagnostics that quote their line, spelling suggestions and content hashes.
//!
//! Rule packs, judge rubrics and configuration files report their errors through one [`Report`]:
//!
//! ```
//! use guerdon_text::{Code, Finding, Report, SourceText};
//!
//! const UNKNOWN_KEY: Code = Code::error("R002");
//!
//! let pack = SourceText::new("rules/tone.yaml", "pack: tone\npionts: 3\n");
//! let finding = Finding::new(UNKNOWN_KEY, 11..17, "no key `pionts`")
//!     .nearest("pionts", ["points", "per"]);
//!
//! let mut report = Report::default();
//! report.add(&pack, finding);
//!
//! assert_eq!(report.summary(), "1 error");
//! assert_eq!(
//!     report.to_string(),
//!     "\
//! error[R002]: no key `pionts`
//!  --> rules/tone.yaml:2:1
//!   |
//! 2 | pionts: 3
//!   | ^^^^^^
//!   |
//!   = help: did you mean `points`?
//! "
//! );
//! ```
//!
//! | File or folder | Contents |
//! |---|---|
//! | `source_text.rs` | [`SourceText`], a text with the name it is reported under; [`Location`] |
//! | `report/` | [`Report`], [`Diagnostic`] and [`Severity`]; [`Finding`], the builder of a diagnostic |
//! | `suggest.rs` | "Did you mean": [`nearest`] and [`did_you_mean`] |
//! | `excerpt.rs` | Bounded excerpts of untrusted text for error messages: [`quote`] and [`cut`] |
//! | `chat_markup/` | [`chat_markup`]: role markers, special tokens and thoughts of chat templates |
//! | `encoding.rs` | Files that are not UTF-8: [`decode`] and [`NotUtf8`] |
//! | `hash.rs` | SHA-256 in hexadecimal: [`sha256_hex`], [`content_hash`] |

pub mod chat_markup;
mod encoding;
mod excerpt;
mod hash;
mod report;
mod source_text;
mod suggest;

pub use encoding::{NotUtf8, decode};
pub use excerpt::{cut, floor_char_boundary, quote};
pub use hash::{content_hash, hex, sha256_hex, sha256_hex_of_reader};
pub use report::{Code, Diagnostic, Finding, Fix, FixRange, Report, Severity};
pub use source_text::{Location, SourceText};
pub use suggest::{did_you_mean, nearest};
