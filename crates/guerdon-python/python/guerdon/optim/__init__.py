"""Advantages, losses with gradients, and whole updates, on NumPy arrays of `float32` or `float64`.

>>> import numpy as np
>>> from guerdon import optim
>>> rewards = np.array([0.5, 1.5, -1.0, np.nan], dtype=np.float32)  # the last one was not scored
>>> optim.group_advantages(rewards, ["price", "price", "photos", "photos"], estimator="dr_grpo")
array([-0.5,  0.5,  0. ,  nan], dtype=float32)

| module | contents |
|---|---|
| `repo` | `Repo(config).step(batch)`: one update; `estimate` and `improve`: its halves |
| `advantages` | GAE; GRPO, Dr. GRPO, RLOO and relatives; OPO, GDPO, REINFORCE++, ReMax; by turn |
| `rewards` | token rewards with a KL charge, KL estimators, whitening, combined rewards |
| `losses` | PPO, GSPO, GMPO, CISPO, SAPO, DRO, DPPO, Clip-Cov, REINFORCE; the value loss; weights of tokens |
| `preference` | DPO, IPO, SimPO, ORPO and KTO on preferences; imitation (SFT) |
| `correction` | importance weights and masks for the gap between engine and trainer |
| `logits` | log-probs and entropies of logits, and gradients by logits |
| `watching` | the KL coefficient; health figures for training on several rewards |

The first array of a call determines the dtype of the computation, and the others must have the same;
lists have no dtype and fit both. C-contiguous arrays are read without a copy. `[B, T]` means rollouts by
tokens.

A `mask` marks the slots that are tokens of the policy: flags `[B, T]`, or one length per row `[B]`, or
`None` without padding. The contents of other slots, even NaN, are ignored.

Invalid inputs raise `guerdon.errors.OptimError`, whose message names the argument, the position and the
remedy. Large batches are spread over the machine's cores by threads; a forked child starts its own.

The caller's framework pushes a gradient through the network: the scalar
`(dlogp * logp).sum() + (dvalue * values).sum()`, with `dlogp` and `dvalue` held constant, has exactly
these gradients.
"""

from guerdon.errors import OptimError
from guerdon.optim.advantages import (
    gae,
    gdpo,
    group_advantages,
    opo,
    optimal_token_baseline,
    remax,
    returns_to_go,
    spread,
    standardise,
    token_advantages,
    turn_gae,
    turn_group_advantages,
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
from guerdon.optim.preference import KtoLoss, PairLoss, SftLoss, kto_loss, pair_loss, sft_loss
from guerdon.optim.repo import (
    Batch,
    Config,
    Estimate,
    Improvement,
    Minibatch,
    Repo,
    RepoState,
    Update,
)
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
from guerdon.optim.watching import KlController, Monitor, MonitorState

__all__ = [
    "Batch",
    "Config",
    "Estimate",
    "ImportanceWeights",
    "Improvement",
    "KlController",
    "KtoLoss",
    "Minibatch",
    "Moments",
    "Monitor",
    "MonitorState",
    "Normaliser",
    "OptimError",
    "PairLoss",
    "PolicyLoss",
    "Rejection",
    "Repo",
    "RepoState",
    "SftLoss",
    "TokenRewards",
    "Update",
    "ValueLoss",
    "aggregation_weights",
    "gae",
    "gdpo",
    "group_advantages",
    "importance_weights",
    "kl_penalty",
    "kto_loss",
    "logits_gradient",
    "moments",
    "normaliser",
    "off_policy_rows",
    "opo",
    "optimal_token_baseline",
    "pair_loss",
    "policy_loss",
    "ppo_loss",
    "preference",
    "rejection_mask",
    "remax",
    "repo_reward",
    "returns_to_go",
    "sft_loss",
    "soft_min",
    "spread",
    "standardise",
    "token_advantages",
    "token_logp",
    "token_rewards",
    "turn_gae",
    "turn_group_advantages",
    "value_loss",
    "veto",
    "whiten",
]
