"""The Python optimizer against reference results of verl and OpenRLHF."""

import numpy as np
import pytest
from golden import COUNT, EXACT, NAMES, Case, read

from guerdon import optim

AGGREGATIONS = [
    "token_mean",
    "token_sum",
    "seq_mean_token_sum",
    "seq_mean_token_sum_norm",
    "seq_mean_token_mean",
]


@pytest.fixture(params=[np.float64, np.float32], ids=["f64", "f32"])
def cases(request):
    cases = [Case(name, request.param) for name in NAMES]
    yield cases
    compared = sum(case.compared for case in cases)
    assert compared >= len(cases), f"only {compared} comparisons"


def rewards(case):
    logp, reference, scores = case.input("old"), case.input("ref"), case.input("scores")
    return optim.token_rewards(logp, reference, scores, case.mask)


def test_kl_and_token_rewards_agree(cases):
    for case in cases:
        logp, reference = case.input("logp"), case.input("ref")
        for op, settings in {
            "kl_k1": {"estimator": "k1"},
            "kl_k2": {"estimator": "k2"},
            "kl_k3": {"estimator": "k3"},
            "kl_abs": {"estimator": "abs"},
            "kl_k1+": {"estimator": "k1", "gradient": "straight_through"},
            "kl_k3+": {"estimator": "k3", "gradient": "straight_through"},
        }.items():
            kl, slope = optim.kl_penalty(logp, reference, case.mask, **settings)
            case.expect(kl, op, "out", EXACT)
            case.expect(slope, op, "grad", EXACT)
        case.expect(rewards(case).rewards, "token_rewards_k1", "out", EXACT)


def test_gae_whitening_and_rewards_to_go_agree(cases):
    for case in cases:
        charged, values, mask = rewards(case).rewards, case.input("values"), case.mask
        white, before = optim.whiten(charged, mask)
        case.expect(np.where(mask, white, 0).astype(case.dtype), "whiten", "out", COUNT)
        case.expect(before.mean, "whiten", "mean", COUNT)
        case.expect(before.variance, "whiten", "var", COUNT)
        for op, gamma, lam in [("gae_g1.0_l1.0", 1.0, 1.0), ("gae_g0.99_l0.95", 0.99, 0.95)]:
            advantages, returns = optim.gae(charged, values, mask, gamma=gamma, lam=lam)
            case.expect(advantages, op, "adv_raw", EXACT)
            case.expect(returns, op, "ret", EXACT)
            case.expect(optim.whiten(advantages, mask)[0], op, "adv_white", COUNT)
        to_go = optim.returns_to_go(charged, mask, gamma=0.99)
        case.expect(to_go, "rfpp_g0.99", "ret", EXACT)
        case.expect(optim.whiten(to_go, mask)[0], "rfpp_g0.99", "adv", COUNT)
        case.expect(optim.remax(charged, case.input("baseline"), mask), "remax", "adv", EXACT)


def test_group_estimators_agree(cases):
    for case in cases:
        # verl keeps the raw score of a group of one and counts a row without tokens as a sibling with reward
        # 0.
        if case.name in ("singleton_groups", "one_valid_token", "masked_rows"):
            continue
        scores, groups, mask = case.scored("scores"), case.groups, case.mask
        for op, estimator in {
            "grpo": "grpo",
            "grpo_nostd": "dr_grpo",
            "rloo": "rloo",
            "grpo_passk": "pass_at_k",
            "gpg": "gpg",
        }.items():
            case.expect(optim.token_advantages(scores, groups, mask, estimator=estimator), op, "out", COUNT)
        case.expect(optim.spread(optim.opo(scores, mask.sum(axis=1), groups), mask), "opo", "out", COUNT)
        centred = optim.token_advantages(scores, groups, mask, estimator="dr_grpo")
        case.expect(optim.whiten(centred, mask)[0], "rfpp_baseline", "out", COUNT)
        parts = [(1.0, scores), (0.5, case.scored("comp1")), (2.0, case.scored("comp2"))]
        several = optim.spread(optim.gdpo(parts, groups), mask)
        case.expect(optim.whiten(several, mask)[0], "gdpo_w1_0.5_2", "out", COUNT)


def test_the_optimal_token_baseline_agrees_unless_a_rollout_has_no_sibling(cases):
    for case in cases:
        if case.name in ("singleton_groups", "one_valid_token", "masked_rows"):
            continue
        old, mask = case.input("old"), case.mask
        rewards = optim.token_rewards(old, old, case.input("scores"), mask).rewards
        for op, alignment in {"otb": "slots", "tir_otb": "tokens"}.items():
            got, _ = optim.optimal_token_baseline(
                rewards, old, case.input("spi2"), case.groups, mask, alignment=alignment
            )
            case.expect(got, op, "out", COUNT)


def policy(case, op, corrected=None, **settings):
    advantages = case.output("gae_g0.99_l0.95", "adv_white")
    if advantages is None:
        return
    weights = None
    if corrected is not None:
        weights = optim.importance_weights(
            case.input("old"), case.input("rollout"), case.mask, **corrected
        ).weights
    loss = optim.policy_loss(
        case.input("logp"),
        case.input("old"),
        advantages.astype(case.dtype),
        case.mask,
        correction=weights,
        **settings,
    )
    case.expect(loss.loss, op, "loss", COUNT)
    case.expect(loss.dlogp, op, "grad", COUNT)
    if settings.get("surrogate") != "gmpo":
        case.expect(loss.clip_fraction, op, "pg_clipfrac", COUNT)


def test_policy_losses_and_their_gradients_agree(cases):
    rows = {"aggregation": "seq_mean_token_mean"}
    for case in cases:
        for aggregation in AGGREGATIONS:
            op = f"ppo_vanilla__{aggregation.replace('_', '-')}"
            policy(case, op, aggregation=aggregation, dual_clip=3.0)
        policy(case, "ppo_cliphigher_c2", clip_high=0.28, dual_clip=2.0)
        policy(case, "gspo__seq-mean-token-mean", surrogate="gspo_token", **rows)
        policy(case, "dppo_tv", surrogate="dppo_tv")
        policy(case, "dppo_kl", surrogate="dppo_kl")
        if case.name != "extreme_ratio":  # ours clamps the ratio
            band = {"cov_share": 1.0, "cov_low": 0.05, "cov_high": 50.0}
            policy(case, "clip_cov_all_in_band", surrogate="clip_cov", **band)
            policy(case, "kl_cov_top10pct", surrogate="kl_cov", cov_share=0.1)
        policy(case, "sapo__seq-mean-token-mean", surrogate="sapo", **rows)
        policy(case, "cispo__token-mean", surrogate="cispo")
        policy(case, "dro__token-mean", surrogate="dro", beta=0.1)
        policy(case, "gpg__token-mean", surrogate="reinforce")
        if case.name not in ("masked_rows", "one_valid_token"):
            policy(case, "geo_mean__token-mean", surrogate="gmpo", **rows)
        policy(case, "ppo_tis_token", corrected={}, dual_clip=3.0)
        policy(case, "openrlhf_icepop", corrected={"bound": "drop", "low": 0.9, "high": 1.1})
        policy(case, "openrlhf_seqmasktis", corrected={"bound": "drop_rows", "low": 0.95, "high": 1.05})


def test_the_value_loss_and_its_gradient_agree(cases):
    for case in cases:
        returns = case.output("gae_g0.99_l0.95", "ret")
        if returns is None:
            continue
        for aggregation in AGGREGATIONS:
            op = f"value_clip0.5__{aggregation.replace('_', '-')}"
            inputs = (case.input("vpreds"), case.input("values"), returns.astype(case.dtype), case.mask)
            loss = optim.value_loss(*inputs, clip=0.5, aggregation=aggregation)
            case.expect(loss.loss, op, "loss", COUNT)
            case.expect(loss.dvalues, op, "grad", COUNT)
            case.expect(loss.clip_fraction, op, "clipfrac", COUNT)


def test_importance_weights_and_rejection_masks_agree(cases):
    weights = {
        "is_token_2": {},
        "is_seq_2": {"level": "sequence"},
        "is_token_icepop_0.9_1.1": {"bound": "drop", "low": 0.9, "high": 1.1},
        "is_token_2_batchnorm": {"normalise": True},
    }
    rules = {
        "rs_token_k1": {"low": float(np.log(0.9)), "high": float(np.log(1.1))},
        "rs_token_k2": {"divergence": "k2", "high": 0.005},
        "rs_seq_mean_k3": {"scope": "row_mean", "divergence": "k3", "high": 0.002},
        "rs_seq_max_k2": {"scope": "row_max", "divergence": "k2", "high": 0.01},
    }
    for case in cases:
        old, rollout = case.input("old"), case.input("rollout")
        for op, settings in weights.items():
            case.expect(
                optim.importance_weights(old, rollout, case.mask, **settings).weights, op, "out", COUNT
            )
        if case.dtype == np.float64:
            for op, rule in rules.items():
                kept, share = optim.rejection_mask(old, rollout, case.mask, rules=[rule])
                assert kept.dtype == bool and 0.0 <= share <= 1.0
                case.expect(kept.astype(np.float64), op, "out", 0.0)


def test_log_probs_of_logits_and_their_gradient_agree():
    json = read("vocab")
    inputs = {
        name: np.array(values, dtype=np.float32).astype(np.float64) for name, values in json["inputs"].items()
    }
    logits, labels = inputs["logits"], json["inputs"]["labels"]
    logp, entropy = optim.token_logp(logits, labels)
    np.testing.assert_allclose(logp, json["outputs"]["logp"], atol=EXACT)
    np.testing.assert_allclose(entropy, json["outputs"]["entropy"], atol=EXACT)
    slope = optim.logits_gradient(logits, labels, inputs["upstream_logp"], inputs["upstream_entropy"])
    np.testing.assert_allclose(slope, json["outputs"]["grad_logits"], atol=EXACT)


def test_the_controller_and_the_fusion_agree():
    json = read("controllers")
    kl = json["adaptive_kl"]
    beta = optim.KlController(kl["init"], kl["target"], kl["horizon"])
    for step in kl["steps"]:
        beta.update(step["kl"], kl["n_steps"])
        assert beta.value == pytest.approx(step["value"], abs=1e-14)
    assert len(json["repo_fusion"]) == 49
    for point in json["repo_fusion"]:
        assert optim.repo_reward(point["r_model"], point["raw"]) == pytest.approx(point["r_total"], rel=1e-15)
