"""The border of the optimizer: number types, shapes, masks, settings, and what is refused. References are
NumPy's."""

import threading
import time
import tracemalloc

import numpy as np
import pytest

from guerdon import errors, optim

ROWS, WIDTH = 4, 6
LENS = [6, 3, 5, 1]
MASK = np.arange(WIDTH) < np.array(LENS)[:, None]


@pytest.fixture
def numbers():
    return np.random.default_rng(7)


def table(numbers, dtype=np.float64):
    return numbers.normal(size=(ROWS, WIDTH)).astype(dtype)


def test_grpo_equals_numpy(numbers):
    rewards = numbers.normal(size=8)
    groups = np.array(["a", "b"] * 4)
    got = optim.group_advantages(rewards, groups)
    for name in "ab":
        mine = rewards[groups == name]
        want = (mine - mine.mean()) / (mine.std(ddof=1) + 1e-6)
        np.testing.assert_allclose(got[groups == name], want, rtol=1e-12)


def test_ppo_equals_numpy(numbers):
    logp, old, advantages = (table(numbers) for _ in range(3))
    loss = optim.ppo_loss(logp, old, advantages, MASK)
    ratio = np.exp(logp - old)
    free, held = -advantages * ratio, -advantages * np.clip(ratio, 0.8, 1.2)
    np.testing.assert_allclose(loss.loss, np.maximum(free, held)[MASK].mean(), rtol=1e-12)
    slope = np.where(MASK & (free >= held), free, 0.0) / MASK.sum()
    np.testing.assert_allclose(loss.dlogp, slope, atol=1e-15)
    assert loss.tokens == MASK.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_array_determines_the_dtype(numbers, dtype):
    values = table(numbers, dtype)
    advantages, returns = optim.gae(values, values, MASK)
    assert advantages.dtype == returns.dtype == dtype
    assert optim.group_advantages(values[0], [0] * WIDTH).dtype == dtype


def test_lists_and_none_are_accepted_and_abstained_is_nan():
    got = optim.group_advantages([0.5, 1.5, None, -1.0], [0, 0, 0, 1], estimator="dr_grpo")
    np.testing.assert_array_equal(got, [-0.5, 0.5, np.nan, 0.0])


def test_two_dtypes_in_one_call_are_refused_with_the_fix(numbers):
    single = table(numbers, np.float32)
    with pytest.raises(errors.OptimError, match=r"values is float64.*values\.astype\(numpy\.float32\)"):
        optim.gae(single, table(numbers), MASK)
    with pytest.raises(errors.OptimError, match="float16"):
        optim.gae(single.astype(np.float16), single, MASK)


def test_masks_may_be_flags_of_any_type_or_lengths(numbers):
    values = table(numbers)
    want = optim.gae(values, values, MASK)
    for mask in (MASK.astype(np.uint8), MASK.astype(np.int64), MASK.astype(np.float32), LENS, np.array(LENS)):
        np.testing.assert_array_equal(optim.gae(values, values, mask), want)
    assert not np.array_equal(optim.gae(values, values), want)


def test_a_non_contiguous_array_is_read_correctly(numbers):
    wide = numbers.normal(size=(ROWS, 2 * WIDTH))
    values, plain = wide[:, ::2], np.ascontiguousarray(wide[:, ::2])
    for other in (values, np.asfortranarray(plain), plain.T.copy().T):
        np.testing.assert_array_equal(optim.gae(other, other, MASK), optim.gae(plain, plain, MASK))


def test_only_unsuitable_arrays_are_copied(numbers):
    wide = numbers.normal(size=(1024, 2048))

    def allocated(values):
        tracemalloc.start()
        optim.moments(values)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    assert allocated(wide) < 100_000, "numpy was asked for a copy"
    assert allocated(wide.T) >= wide.nbytes


def test_an_input_is_never_written_to(numbers):
    values = table(numbers)
    values.flags.writeable = False
    before = values.copy()
    optim.whiten(values, MASK)
    optim.policy_loss(values, values, values, MASK)
    np.testing.assert_array_equal(values, before)


def test_padding_is_never_read(numbers):
    values = table(numbers)
    spoilt = np.where(MASK, values, np.nan)
    np.testing.assert_array_equal(optim.gae(spoilt, spoilt, MASK), optim.gae(values, values, MASK))


def test_a_wrong_shape_is_refused_even_if_the_count_is_right(numbers):
    values = table(numbers)
    with pytest.raises(errors.OptimError, match=r"values has shape \[6, 4\], expected \[4, 6\]"):
        optim.gae(values, values.T, MASK)
    with pytest.raises(errors.OptimError, match=r"mask has shape \[3\]"):
        optim.gae(values, values, [1, 2, 3])
    with pytest.raises(errors.OptimError, match="two dimensions"):
        optim.gae(values[0], values[0])


def test_a_nan_in_a_valid_slot_is_refused_with_its_place(numbers):
    values = table(numbers)
    values[2, 3] = np.nan
    with pytest.raises(ValueError, match="values is not finite at row 2, token 3"):
        optim.gae(np.zeros_like(values), values, MASK)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: optim.gae(x, x, gamma=1.5), "gamma is 1.5, but must be within 0..=1"),
        (lambda x: optim.policy_loss(x, x, x, surrogate="gspo", dual_clip=3.0), "`gspo` has no setting `dual_clip`"),
        (lambda x: optim.policy_loss(x, x, x, surrogate="pop"), 'unknown surrogate "pop"'),
        (lambda x: optim.policy_loss(x, x, x, aggregation="mean"), "expected one of: token_mean"),
        (lambda x: optim.group_advantages(x[0], [0] * WIDTH, estimator="gpro"), 'unknown estimator "gpro"'),
        (lambda x: optim.group_advantages(x[0], [0]), "groups has 1 elements, expected 6"),
        (lambda x: optim.kl_penalty(x, x, gradient="unbiased"), "old_logp is needed"),
        (lambda x: optim.gae(x, x, lam=float("nan")), "finite numbers"),
        (lambda x: optim.gdpo([], []), "parts is empty"),
        (
            lambda x: optim.Repo({"advantages": {}}),
            "unknown field `advantages`, expected one of .*`advantage`",
        ),
        (lambda x: optim.Repo({"advantage": {"method": "gae", "lambda": 1.0}}), "unknown field `lambda`"),
        (lambda x: optim.Repo("repo"), "unknown variant `repo`, expected one of `paper`"),
        (lambda x: optim.Repo({"entropy_coefficient": -1.0}), "entropy_coefficient is -1"),
        (lambda x: optim.Repo().step({"logp": x, "old_logp": x}), "no `rewards`"),
        (lambda x: optim.Repo().step({"logp": x, "old_lgp": x}), "old_lgp"),
        (
            lambda x: optim.Repo("grpo").step({"logp": x, "old_logp": x, "rewards": x[:, 0]}),
            "groups is needed",
        ),
    ],
)
def test_invalid_inputs_are_refused_with_name_and_place(numbers, call, words):
    with pytest.raises(errors.OptimError, match=words):
        call(table(numbers))


def test_micro_batches_add_up_to_the_whole(numbers):
    logp, old, advantages = (table(numbers) for _ in range(3))
    whole = optim.policy_loss(logp, old, advantages, MASK)
    divisors = optim.normaliser(MASK[:2]).merge(optim.normaliser(MASK[2:]))
    assert divisors == optim.normaliser(MASK)
    halves = [
        optim.policy_loss(logp[rows], old[rows], advantages[rows], MASK[rows], normaliser=divisors)
        for rows in (slice(0, 2), slice(2, 4))
    ]
    assert sum(half.loss for half in halves) == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_allclose(np.concatenate([half.dlogp for half in halves]), whole.dlogp, rtol=1e-12)


def test_weights_sum_to_one_and_are_used_by_the_loss(numbers):
    weights = optim.aggregation_weights(MASK, "seq_mean_token_mean")
    assert weights.sum() == pytest.approx(1.0)
    advantages = table(numbers)
    loss = optim.policy_loss(advantages, advantages, advantages, MASK, aggregation="seq_mean_token_mean")
    np.testing.assert_allclose(loss.dlogp, -advantages * weights, rtol=1e-12)


def test_whitening_standardising_and_moments(numbers):
    values = table(numbers)
    white, before = optim.whiten(values, MASK)
    assert before.mean == pytest.approx(values[MASK].mean())
    assert before.variance == pytest.approx(values[MASK].var(ddof=1))
    assert optim.moments(white, MASK).mean == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_array_equal(white[~MASK], values[~MASK])
    got = optim.standardise([1.0, None, 3.0])
    np.testing.assert_allclose(got, [-np.sqrt(0.5), np.nan, np.sqrt(0.5)], rtol=1e-6)


def test_combined_rewards():
    assert optim.repo_reward(2.0, -50.0) == 1.0
    assert optim.repo_reward(-2.0, -50.0) == -3.0
    assert optim.preference(1.0, 1.0) == 0.5
    assert optim.soft_min([3.0, 1.0], sharpness=0.0) == pytest.approx(2.0)
    assert optim.soft_min([], sharpness=1.0) is None
    assert (optim.veto(2.0, True, floor=-1.0), optim.veto(2.0, False, floor=-1.0)) == (2.0, -1.0)


def test_off_policy_rows_are_marked():
    old, logp = np.zeros((3, 2)), np.array([[-3.0, -3.0], [-3.0, -3.0], [0.0, 0.0]])
    dropped = optim.off_policy_rows(old, logp, [-1.0, 1.0, -1.0], delta=1.0)
    np.testing.assert_array_equal(dropped, [True, False, False])


def test_logits_of_invalid_tokens_are_not_read():
    logits = np.array([[0.0, 1.0], [np.nan, np.nan]])
    logp, entropy = optim.token_logp(logits, [1, 9], valid=[True, False])
    assert logp[0] == pytest.approx(-np.log1p(np.exp(-1.0)))
    assert (logp[1], entropy[1]) == (0.0, 0.0)


def batch(numbers, dtype=np.float32):
    logp = -np.abs(table(numbers, dtype))
    return {
        "logp": logp,
        "old_logp": logp,
        "rewards": np.array([1.0, np.nan, -1.0, 0.5], dtype=dtype),
        "mask": MASK,
        "reference": logp,
        "values": np.zeros_like(logp),
        "old_values": np.zeros_like(logp),
        "groups": ["x", "x", "x", "y"],
        "rm": np.array([1.0, 0.5, -1.0, 0.5], dtype=dtype),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("preset", ["paper", "grpo", "dapo", "gspo", "reinforce_plus_plus_baseline"])
def test_a_step_of_every_preset(numbers, preset, dtype):
    repo = optim.Repo(preset)
    update = repo.step(batch(numbers, dtype))
    for name in ("dlogp", "dvalue", "dentropy", "advantages", "returns"):
        array = getattr(update, name)
        assert array.shape == (ROWS, WIDTH) and array.dtype == dtype and np.isfinite(array).all(), name
    assert np.isfinite(update.loss)
    assert not update.dlogp[1].any(), "nothing is learned from a rollout that was not scored"
    assert update.dlogp[0].any()
    assert update.metrics["reward/abstained"] == 0.25
    assert (update.dvalue.any(), repo.beta) == ((True, 0.05) if preset == "paper" else (False, 0.0))


def test_a_step_equals_its_stages_run_in_order(numbers):
    given = batch(numbers, np.float64)
    given["rewards"] = np.array([1.0, 0.2, -1.0, 0.5])
    given["values"] = table(numbers)
    update = optim.Repo().step(given)
    charged = optim.token_rewards(given["old_logp"], given["reference"], given["rewards"], MASK).rewards
    advantages, returns = optim.gae(charged, given["old_values"], MASK)
    advantages, _ = optim.whiten(advantages, MASK)
    policy = optim.ppo_loss(given["logp"], given["old_logp"], advantages, MASK)
    value = optim.value_loss(given["values"], given["old_values"], returns, MASK)
    np.testing.assert_array_equal(update.advantages, advantages)
    np.testing.assert_array_equal(update.dlogp, policy.dlogp)
    np.testing.assert_array_equal(update.dvalue, value.dvalues)
    assert update.loss == pytest.approx(policy.loss + value.loss, rel=1e-15)


def test_settings_change_a_preset_and_none_removes_a_part(numbers):
    given = batch(numbers)
    plain = optim.Repo().step(given)
    raw = optim.Repo({"preset": "paper", "whiten": None, "critic": None, "beta": 0.2})
    assert raw.beta == 0.2
    update = raw.step(given)
    assert not update.dvalue.any() and plain.dvalue.any()
    assert not np.array_equal(update.advantages, plain.advantages)
    narrow = {"surrogate": "ppo", "clip_low": 0.0, "clip_high": 0.0}
    moved = {**given, "logp": given["logp"] + np.float32(0.1)}
    assert optim.Repo({"policy": narrow}).step(moved).metrics["policy/clip_fraction"] > 0.0


def test_an_adaptive_kl_coefficient_changes_from_step_to_step(numbers):
    given = batch(numbers)
    given["reference"] = given["old_logp"] - np.float32(1.0)
    repo = optim.Repo({"beta": {"beta": 0.1, "target": 0.01, "horizon": 10.0}})
    repo.step(given)
    assert repo.beta == pytest.approx(0.1 * (1 + 0.2 * 3 / 10))


def test_gdpo_reads_the_parts(numbers):
    given = batch(numbers)
    repo = optim.Repo(
        {"preset": "grpo", "kl_loss": None, "advantage": {"method": "gdpo", "weights": [1.0, 0.0, 0.0]}}
    )
    want = optim.group_advantages(np.array([1.0, np.nan, -1.0, 0.5], dtype=np.float32), given["groups"])
    np.testing.assert_allclose(repo.step(given).advantages[[0, 2, 3], 0], want[[0, 2, 3]], rtol=1e-6)


def test_a_repo_keeps_its_dtype(numbers):
    repo = optim.Repo()
    repo.step(batch(numbers, np.float32))
    with pytest.raises(errors.OptimError, match="has run on float32, and logp is float64"):
        repo.step(batch(numbers, np.float64))


def test_an_update_is_valid_after_the_next_one(numbers):
    repo, given = optim.Repo(), batch(numbers)
    first = repo.step(given)
    kept = first.dlogp.copy()
    repo.step({**given, "rewards": given["rewards"] * -2})
    np.testing.assert_array_equal(first.dlogp, kept)


def test_the_monitor_tracks_trends(numbers):
    monitor, mask = optim.Monitor(bound=50.0), MASK
    rewards = numbers.normal(size=ROWS)
    seen = monitor.watch(rewards, mask, rm=rewards, rules=[-60.0, 0.0, 0.0, None], groups=[0, 0, 1, 1])
    assert seen["reward/saturated"] == pytest.approx(1 / 3)
    assert seen["rm/drift"] == 0.0
    assert monitor.watch(rewards, mask, rm=rewards + 1.0)["rm/drift"] > 0.0


def test_other_threads_run_while_it_computes():
    values = np.random.default_rng(0).normal(size=(4096, 2048))
    thread = threading.Thread(target=lambda: optim.gae(values, values))
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
        time.sleep(0)
    assert turns > 10, "the interpreter's lock was held"
