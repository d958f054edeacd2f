//! The inspector in a real browser. `make test-ui` builds `guerdon`, installs Chromium where it is
//! missing, and runs the tests of this package.
//!
//! | file | content |
//! |---|---|
//! | `axe.rs` | the checks of accessibility by axe-core |
//! | `browser.rs` | a tab of Chromium, with what its console said |
//! | `inspector.rs` | the processes `guerdon view` and `guerdon serve` |
//! | `negotiation.rs` | scored rollouts that look like a training run |
//! | `hostile.rs` | scored rollouts whose texts attack the pages |

mod axe;
mod browser;
mod hostile;
mod inspector;
mod negotiation;

pub use axe::Axe;
pub use browser::Tab;
pub use hostile::hostile;
pub use inspector::{Inspector, guerdon, repository};
pub use negotiation::negotiation;
