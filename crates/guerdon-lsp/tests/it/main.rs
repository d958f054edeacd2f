//! Sessions with the server through its streams, as an editor has them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "messages are written where they are sent")]

mod completion;
mod diagnostics;
mod editor;
mod hover;
mod lifecycle;
