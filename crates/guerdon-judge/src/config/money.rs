//! What calls cost, and what they may cost.

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

/// Prices per million tokens, in whatever currency the operator counts.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// Of what is sent.
    pub prompt_per_million: Finite,
    /// Of what comes back.
    pub completion_per_million: Finite,
}

impl Prices {
    /// The cost of one call, from the endpoint's own count of tokens.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a call of 2^53 tokens does not exist")]
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        (prompt_tokens as f64 * self.prompt_per_million.get()
            + completion_tokens as f64 * self.completion_per_million.get())
            / 1e6
    }
}

/// What may be spent, in the currency of the prices; a question that might cost more than is left is not sent. What that is
/// follows from `max_tokens` and an estimate of the prompt, by whose error a cap can be overrun: what nobody counts, and what
/// was under way when the process was killed or the judge was reloaded, is booked at its most, by the reloaded judge until it
/// is loaded again. Where no `cache.path` is set, a restart forgets. Processes that share a file learn of each other's
/// spending when they start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// The name of the training run, under which its spending is counted on.
    pub run: String,
    /// What this run may spend. Default: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_run: Option<Finite>,
    /// What a day (UTC) may cost. Default: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<Finite>,
}

impl BudgetConfig {
    pub(crate) const fn is_capped(&self) -> bool {
        self.per_run.is_some() || self.per_day.is_some()
    }
}

impl Default for BudgetConfig {
    fn default() -> Self {
        Self { run: "default".to_owned(), per_run: None, per_day: None }
    }
}
