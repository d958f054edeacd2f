"""Advantages, losses with their gradients, and a whole update, on NumPy arrays of `float32` or `float64`.

>>> import numpy as np
>>> from guerdon import optim
>>> rewards = np.array([0.5, 1.5, -1.0, np.nan], dtype=np.float32)  # the last one was not scored
>>> optim.group_advantages(rewards, ["price", "price", "photos", "photos"], estimator="dr_grpo")
array([-0.5,  0.5,  0. ,  nan], dtype=float32)

| module | what |
|---|---|
| `repo` | `Repo(config).step(batch)`: one update, from rewards to gradients |
| `advantages` | GAE; GRPO, Dr. GRPO, RLOO and others of their family; OPO, GDPO, REINFORCE++, ReMax |
| `rewards` | token rewards with their KL charge, KL estimators, whitening; one reward of several |
| `losses` | PPO, GSPO, GMPO, CISPO, SAPO, DRO, REINFORCE; the clipped value loss; the weight of a token |
| `correction` | importance weights and masks for the gap between engine and trainer |
| `logits` | log-probs and entropies of logits, and back |
| `watching` | the price of KL; what to watch while training on several rewards |

The first array of a call says which of the two types it is computed in, and the others must be of the same;
lists have no type and fit both. An array that is C-contiguous is read where it lies. `[B, T]` is rollouts by
tokens.

A `mask` says which slots are tokens of the policy: flags `[B, T]`, or one length a row `[B]`, or `None` where
there is no padding. What lies in other slots, NaN included, changes nothing.

Everything is refused with `guerdon.errors.OptimError`, which says what, where and what to change. Large
batches are spread over the machine's cores by threads that do not survive a fork: let worker processes be
spawned, or use it in one place.

A gradient is pushed through a network by its framework: `(dlogp * logp).sum() + (dvalue * values).sum()`,
with `dlogp` and `dvalue` held constant, has exactly these gradients.
"""

from guerdon.errors import OptimError
from guerdon.optim.advantages import (
    gae,
    gdpo,
    group_advantages,
    opo,
    remax,
    returns_to_go,
    spread,
    standardise,
    token_advantages,
)
from guerdon.optim.correction import (
    ImportanceWeights,
    Rejection,
    importance_weights,
    off_policy_rows,
    rejection_mask,
)
from guerdon.optim.logits import logits_gradient, token_logp
from guerdon.optim.losses import (
    Normaliser,
    PolicyLoss,
    ValueLoss,
    aggregation_weights,
    normaliser,
    policy_loss,
    ppo_loss,
    value_loss,
)
from guerdon.optim.repo import Batch, Config, Repo, Update
from guerdon.optim.rewards import (
    Moments,
    TokenRewards,
    kl_penalty,
    moments,
    preference,
    repo_reward,
    soft_min,
    token_rewards,
    veto,
    whiten,
)
from guerdon.optim.watching import KlController, Monitor

__all__ = [
    "Batch",
    "Config",
    "ImportanceWeights",
    "KlController",
    "Moments",
    "Monitor",
    "Normaliser",
    "OptimError",
    "PolicyLoss",
    "Rejection",
    "Repo",
    "TokenRewards",
    "Update",
    "ValueLoss",
    "aggregation_weights",
    "gae",
    "gdpo",
    "group_advantages",
    "importance_weights",
    "kl_penalty",
    "logits_gradient",
    "moments",
    "normaliser",
    "off_policy_rows",
    "opo",
    "policy_loss",
    "ppo_loss",
    "preference",
    "rejection_mask",
    "remax",
    "repo_reward",
    "returns_to_go",
    "soft_min",
    "spread",
    "standardise",
    "token_advantages",
    "token_logp",
    "token_rewards",
    "value_loss",
    "veto",
    "whiten",
]
