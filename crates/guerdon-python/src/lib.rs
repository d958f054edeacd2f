//! The native half of the Python package `guerdon`: the client and the optimizer, as the module
//! `guerdon._guerdon`.
//!
//! ```python
//! import guerdon
//!
//! client = guerdon.Client("http://127.0.0.1:8787", profile="hotel")
//! turns = [{"role": "user", "content": "480 is our best price."},
//!          {"role": "assistant", "content": "Could we meet at 420?"}]
//! scored = client.score([{"messages": turns}])
//! print(scored.rewards, scored.results[0]["turns"])
//! ```
//!
//! Programs use the modules in `python/guerdon/`, which have the signatures, types and
//! documentation, and not this module. Requests, replies and settings pass between the languages as
//! JSON text, and numbers as arrays. JSON text keeps the parsing of the wire format in one place: a
//! parser for Python objects would need its own rules for NaN, tuples and unknown keys.
//!
//! | file | contents |
//! |---|---|
//! | `client.rs`, `stream.rs` | the client, usable after a fork; streamed results |
//! | `calls.rs` | the calls of a client, with arguments and results as text |
//! | `tasks.rs` | futures: a blocking wait that Ctrl-C interrupts, or a callback |
//! | `errors.rs` | conversion of errors to exceptions |
//! | `arrays.rs` | NumPy arrays in and out, masks |
//! | `settings.rs`, `repo_settings.rs` | settings from text |
//! | `advantages/`, `rewards.rs` | advantages; token rewards, KL, whitening, combined rewards |
//! | `advantages/by_turn.rs` | advantages by turn, and by position in the rollouts of a group |
//! | `losses.rs`, `correction.rs`, `logits.rs` | losses; importance weights; log-probs of logits |
//! | `preference.rs` | losses on preferences; the imitation loss |
//! | `queue.rs` | requests on disk |
//! | `repo.rs`, `monitors.rs` | updates, whole or in two steps; the KL coefficient and health figures |

mod advantages;
mod arrays;
mod calls;
mod client;
mod correction;
mod errors;
mod logits;
mod losses;
mod monitors;
mod preference;
mod queue;
mod repo;
mod repo_settings;
mod rewards;
mod settings;
mod stream;
mod tasks;

/// The exported module.
#[pyo3::pymodule]
mod _guerdon {
    #[pymodule_export]
    use crate::advantages::by_turn::{optimal_token_baseline, turn_gae, turn_group_advantages};
    #[pymodule_export]
    use crate::advantages::{
        gae, gdpo, group_advantages, opo, remax, returns_to_go, spread, standardise,
        token_advantages,
    };
    #[pymodule_export]
    use crate::client::PyClient;
    #[pymodule_export]
    use crate::correction::{importance_weights, off_policy_rows, rejection_mask};
    #[pymodule_export]
    use crate::logits::{logits_gradient, token_logp};
    #[pymodule_export]
    use crate::losses::{aggregation_weights, normaliser, policy_loss, value_loss};
    #[pymodule_export]
    use crate::monitors::{PyKlController, PyMonitor};
    #[pymodule_export]
    use crate::preference::{kto_loss, pair_loss, sft_loss};
    #[pymodule_export]
    use crate::queue::{PyQueue, PyQueueClaim};
    #[pymodule_export]
    use crate::repo::PyRepo;
    #[pymodule_export]
    use crate::rewards::{
        kl_penalty, moments, preference, repo_reward, soft_min, token_rewards, veto, whiten,
    };
    #[pymodule_export]
    use crate::stream::Stream;
    #[pymodule_export]
    use crate::tasks::PyTask;
}
