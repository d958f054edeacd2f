//! The native half of the Python package `guerdon`: the client and the optimizer, as the module
//! `guerdon._guerdon`.
//!
//! ```python
//! import guerdon
//!
//! client = guerdon.Client("http://127.0.0.1:8787", profile="hotel")
//! scored = client.score([{"messages": [{"role": "user", "content": "480 is our best price."},
//!                                      {"role": "assistant", "content": "Could we meet at 420?"}]}])
//! print(scored.rewards, scored.results[0]["turns"])
//! ```
//!
//! It is not meant to be called directly: `python/guerdon/` is, which has the signatures, the types and the
//! documentation. What crosses the border is text (a request and its reply, as the wire has them; settings)
//! and arrays. Text, because one reading of the wire is enough: a second one, from Python objects, would have
//! to decide anew what NaN, a tuple or an unknown key means.
//!
//! | file | what |
//! |---|---|
//! | `client.rs`, `stream.rs` | the client, which survives a fork; results as they become final |
//! | `running.rs` | waiting without the interpreter's lock, interruptibly; calling back |
//! | `ask.rs` | what a client is asked, and the answer as text |
//! | `errors.rs` | Rust's errors as Python's |
//! | `arrays.rs` | NumPy arrays in and out, masks |
//! | `settings.rs`, `repo_settings.rs` | settings from text |
//! | `advantages.rs`, `rewards.rs` | advantages; token rewards, KL, whitening, ways to combine rewards |
//! | `losses.rs`, `correction.rs`, `logits.rs` | losses, gradients; importance weights; log-probs of logits |
//! | `repo.rs`, `watching.rs` | one update; what to watch |

mod advantages;
mod arrays;
mod ask;
mod client;
mod correction;
mod errors;
mod logits;
mod losses;
mod repo;
mod repo_settings;
mod rewards;
mod running;
mod settings;
mod stream;
mod watching;

/// The module as Python sees it.
#[pyo3::pymodule]
mod _guerdon {
    #[pymodule_export]
    use crate::advantages::{
        gae, gdpo, group_advantages, opo, remax, returns_to_go, spread, standardise,
    };
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::correction::{importance_weights, off_policy_rows, rejection_mask};
    #[pymodule_export]
    use crate::logits::{logits_gradient, token_logp};
    #[pymodule_export]
    use crate::losses::{aggregation_weights, normaliser, policy_loss, value_loss};
    #[pymodule_export]
    use crate::repo::Repo;
    #[pymodule_export]
    use crate::rewards::{
        kl_penalty, moments, preference, repo_reward, soft_min, token_rewards, veto, whiten,
    };
    #[pymodule_export]
    use crate::running::Task;
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::watching::{KlController, Monitor};
}
