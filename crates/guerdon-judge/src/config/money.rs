//! Prices and budgets.

use guerdon_types::Finite;
use serde::{Deserialize, Serialize};

/// Prices per million tokens, in the operator's currency.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenPrices {
    /// Price of prompt tokens.
    pub prompt_per_million: Finite,
    /// Price of the answer's tokens.
    pub completion_per_million: Finite,
    /// Price of prompt tokens that the endpoint had in its cache. Default: that of other prompt
    /// tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_per_million: Option<Finite>,
}

impl TokenPrices {
    /// The cost of one call, from the endpoint's own count of tokens. None of them was cached.
    #[must_use]
    pub fn cost(&self, prompt_tokens: u64, completion_tokens: u64) -> f64 {
        self.cost_of(prompt_tokens, 0, completion_tokens)
    }

    /// The cost of one call; `cached_tokens` of its `prompt_tokens` were cached.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a call of 2^53 tokens does not exist")]
    pub fn cost_of(&self, prompt_tokens: u64, cached_tokens: u64, completion_tokens: u64) -> f64 {
        let cached = cached_tokens.min(prompt_tokens);
        let prompt_price = self.prompt_per_million.get();
        let cached_price = self.cached_per_million.map_or(prompt_price, Finite::get);
        ((prompt_tokens - cached) as f64 * prompt_price
            + cached as f64 * cached_price
            + completion_tokens as f64 * self.completion_per_million.get())
            / 1e6
    }
}

/// Limits on spending, in the currency of the prices. A question whose maximum cost exceeds the
/// remaining budget is not sent. The maximum cost follows from `max_tokens` and an estimate of the
/// prompt, and the error of that estimate can overrun a cap. Calls without reported usage, and
/// calls that were in flight when the process was killed or the judge was reloaded, are recorded at
/// their maximum cost. Without `cache.path`, spending is forgotten at a restart. Processes that
/// share a file learn of each other's spending when they start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetConfig {
    /// The name of the training run, under which its spending is counted on.
    pub run: String,
    /// Cap on the spending of this run. Default: no cap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_run: Option<Finite>,
    /// Cap on the spending of a day (UTC). Default: no cap.
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
