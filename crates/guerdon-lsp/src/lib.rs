//! A language server for rule packs over any stream: diagnostics of the loader, completion, hover,
//! quick fixes and formatting. `guerdon rules lsp` serves it on standard input and output.
//!
//! ```
//! use guerdon_lsp::{SessionEnd, serve};
//!
//! let exit = r#"{"jsonrpc":"2.0","method":"exit"}"#;
//! let input = format!("Content-Length: {}\r\n\r\n{exit}", exit.len());
//! assert_eq!(serve(input.as_bytes(), std::io::sink())?, SessionEnd::Abrupt);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The thread that reads the stream only applies changes to the documents. One thread checks, and
//! drops the check of a text that was changed; another one answers requests in their order. All
//! queues are bounded.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `server.rs` | [`serve`]: initialisation, documents, requests, shutdown |
//! | `wire.rs` | Messages on a stream |
//! | `client.rs` | Messages to the client |
//! | `documents.rs` | The open documents and their changes |
//! | `position.rs` | Positions in the client's encoding, and bytes |
//! | `folder.rs` | The files that are checked together |
//! | `checker.rs` | The thread that checks |
//! | `diagnostics.rs` | Diagnostics and quick fixes in the protocol's form |
//! | `requests.rs` | The thread that answers requests; formatting |
//! | `outline/` | Keys and items of a text that may not be valid YAML |
//! | `schema.rs` | Keys, values and documentation from the JSON Schema of packs |
//! | `names.rs` | Declared facts, word lists and units |
//! | `completion.rs` | Completion |
//! | `hover.rs` | Hover |

mod checker;
mod client;
mod completion;
mod diagnostics;
mod documents;
mod folder;
mod hover;
mod names;
mod outline;
mod position;
mod requests;
mod schema;
mod server;
mod wire;

pub use server::{SessionEnd, serve};
