"""The optimizer in a trainer's loop: estimated once, improved many times, saved, copied and forked."""

import copy
import json
import multiprocessing
import os
import pickle

import numpy as np
import pytest

from guerdon import errors, optim

ROWS, WIDTH = 8, 6
MASK = np.arange(WIDTH) < np.array([6, 3, 5, 1, 6, 2, 4, 6])[:, None]
ADAPTIVE = {"beta": {"beta": 0.1, "target": 0.01, "horizon": 10.0}}


def a_batch(seed=7, dtype=np.float64):
    numbers = np.random.default_rng(seed)

    def table():
        return numbers.normal(size=(ROWS, WIDTH)).astype(dtype)

    logp = -np.abs(table())
    rewards = numbers.normal(size=ROWS).astype(dtype)
    rewards[3] = np.nan
    return {
        "logp": logp,
        "old_logp": logp - table() / 20,
        "reference": logp - table() / 10,
        "rewards": rewards,
        "mask": MASK,
        "values": table(),
        "old_values": table(),
        "groups": ["x", "x", "x", "x", "y", "y", "y", "y"],
        "rm": rewards,
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("preset", ["paper", "grpo", "dapo", "gspo", "reinforce_plus_plus_baseline"])
def test_an_estimate_and_one_pass_equal_a_step(preset, dtype):
    given = a_batch(dtype=dtype)
    step = optim.Repo(preset).step(given)
    repo = optim.Repo(preset)
    estimate = repo.estimate({name: given[name] for name in given if name not in ("logp", "values")})
    improved = repo.improve(estimate.minibatch(logp=given["logp"], values=given["values"]))
    np.testing.assert_array_equal(step.advantages, estimate.advantages)
    np.testing.assert_array_equal(step.returns, estimate.returns)
    for name in ("dlogp", "dvalue", "dentropy"):
        np.testing.assert_array_equal(getattr(step, name), getattr(improved, name))
    assert step.loss == improved.loss
    assert step.metrics == {**estimate.metrics, **improved.metrics}
    np.testing.assert_array_equal(estimate.scored, ~np.isnan(given["rewards"]))


def test_minibatches_of_any_rows_add_up_to_a_step():
    given, numbers = a_batch(), np.random.default_rng(0)
    for preset in ("paper", "grpo"):
        step, repo = optim.Repo(preset).step(given), optim.Repo(preset)
        estimate = repo.estimate(given)
        loss, dlogp, dvalue = 0.0, np.zeros((ROWS, WIDTH)), np.zeros((ROWS, WIDTH))
        for rows in np.array_split(numbers.permutation(ROWS), 3):
            part = estimate.minibatch(
                rows, logp=given["logp"][rows], values=given["values"][rows], normaliser=estimate.normaliser
            )
            improved = repo.improve(part)
            loss += improved.loss
            dlogp[rows], dvalue[rows] = improved.dlogp, improved.dvalue
        assert loss == pytest.approx(step.loss, rel=1e-12)
        np.testing.assert_allclose(dlogp, step.dlogp, rtol=1e-12)
        np.testing.assert_allclose(dvalue, step.dvalue, rtol=1e-12)


def test_state_moves_once_a_batch():
    given, repo = a_batch(), optim.Repo(ADAPTIVE)
    estimate = repo.estimate(given)
    moved = repo.state_dict()
    assert moved["beta"] != 0.1 and moved["monitor"]["updates"] == 1
    for _ in range(4):
        repo.improve(estimate.minibatch(logp=given["logp"], values=given["values"]))
    assert repo.state_dict() == moved


def test_precomputed_advantages_may_be_per_rollout_or_per_token():
    given, repo = a_batch(), optim.Repo("dapo")
    rollout = optim.group_advantages(given["rewards"], given["groups"])
    plain = {"logp": given["logp"], "old_logp": given["old_logp"], "mask": MASK}
    by_rollout = repo.improve({**plain, "advantages": rollout})
    token = optim.token_advantages(given["rewards"], given["groups"], MASK)
    by_token = repo.improve({**plain, "advantages": token, "scored": ~np.isnan(rollout)})
    np.testing.assert_array_equal(by_rollout.dlogp, by_token.dlogp)
    np.testing.assert_array_equal(by_rollout.dlogp, optim.Repo("dapo").step(given).dlogp)
    assert not by_rollout.dlogp[3].any() and by_rollout.metrics["policy/tokens"] == MASK.sum() - 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"advantages": None}, "no `advantages`"),
        ({"advantages": np.zeros(3)}, r"advantages has shape \[3\], expected \[8\]"),
        ({"advantages": np.zeros((8, 5))}, r"advantages has shape \[8, 5\]"),
        ({"scored": [True]}, "scored has 1 elements, expected 8"),
        ({"scored": ["yes"] * 8}, "scored must be one flag per rollout"),
        ({"values": np.zeros((8, 6))}, "`values` needs `old_values` and `returns`"),
        ({"rewards": np.zeros(8)}, "unknown batch keys .'rewards'"),
        ({"mask": np.where(MASK, 1.0, np.nan)}, "mask has NaN"),
    ],
)
def test_invalid_minibatches_are_refused(change, words):
    given = a_batch()
    plain = {"logp": given["logp"], "old_logp": given["old_logp"], "mask": MASK, "advantages": np.zeros((8, 6))}
    with pytest.raises(errors.OptimError, match=words):
        optim.Repo("dapo").improve({**plain, **change})


def test_what_would_train_on_nothing_is_refused():
    given = a_batch()
    gdpo = {"preset": "grpo", "advantage": {"method": "gdpo"}, "kl_loss": None}
    with pytest.raises(errors.OptimError, match="parts is needed: GDPO"):
        optim.Repo(gdpo).step({**given, "rm": None})
    assert optim.Repo(gdpo).step(given).dlogp.any()
    with pytest.raises(errors.OptimError, match="reference is needed: beta charges"):
        optim.Repo("paper").step({**given, "reference": None})
    with pytest.raises(errors.OptimError, match="must be 0 with gdpo"):
        optim.Repo({**gdpo, "beta": 0.1})
    with pytest.raises(errors.OptimError, match="clip.low is 2"):
        optim.Repo({"policy": {"clip_low": 2.0}})


def test_rows_without_a_token_are_not_siblings():
    mask = np.ones((4, 3), dtype=bool)
    mask[2] = False
    got = optim.token_advantages([1.0, 2.0, 9.0, 4.0], [0] * 4, mask, estimator="dr_grpo")
    np.testing.assert_allclose(got[:, 0], [-4 / 3, -1 / 3, 0.0, 5 / 3])


def test_an_advantage_beyond_float32_is_named():
    with pytest.raises(errors.OptimError, match="advantages overflowed"):
        optim.group_advantages(np.array([3e38, -3e38], dtype=np.float32), [0, 0], estimator="rloo")


def test_a_surrogate_without_settings_says_so():
    x = np.zeros((2, 2))
    with pytest.raises(errors.OptimError, match="`reinforce` has no setting `clip_low`, it has none"):
        optim.policy_loss(x, x, x, surrogate="reinforce", clip_low=0.1)


def copies(thing):
    yield pickle.loads(pickle.dumps(thing))
    yield copy.deepcopy(thing)
    yield copy.copy(thing)


def test_copies_and_pickles_of_a_repo_go_on_where_it_was():
    repo = optim.Repo(ADAPTIVE)
    repo.step(a_batch(1))
    saved = json.loads(json.dumps(repo.state_dict()))
    resumed = optim.Repo(ADAPTIVE)
    resumed.load_state_dict(saved)
    want = copy.deepcopy(repo).step(a_batch(2))
    for other in (resumed, *copies(repo)):
        assert (repr(other), other.beta) == (repr(repo), repo.beta)
        got = other.step(a_batch(2))
        assert got.metrics == want.metrics
        np.testing.assert_array_equal(got.dlogp, want.dlogp)
    assert repo.state_dict() == saved, "a copy moved the original"


def test_a_loaded_state_fits_either_dtype():
    repo = optim.Repo(ADAPTIVE)
    repo.step(a_batch(dtype=np.float32))
    other = optim.Repo(ADAPTIVE)
    other.load_state_dict(repo.state_dict())
    assert other.beta == repo.beta
    other.step(a_batch(dtype=np.float64))


@pytest.mark.parametrize("state", [{}, {"beta": "x", "monitor": {}}, {"beta": 0.1, "monitor": {"updates": 1}}, None])
def test_what_is_no_state_is_refused(state):
    repo = optim.Repo()
    with pytest.raises(errors.OptimError, match="no state of a"):
        repo.load_state_dict(state)
    with pytest.raises(errors.OptimError, match="beta is -1"):
        repo.load_state_dict({"beta": -1.0, "monitor": {"updates": 0, "trends": [None] * 3}})
    assert repo.beta == 0.05


def test_copies_of_monitors_and_controllers():
    monitor, rewards = optim.Monitor(bound=50.0), np.arange(8.0)
    monitor.watch(rewards, MASK, rm=rewards)
    want = copy.deepcopy(monitor).watch(rewards, MASK, rm=rewards + 1)
    for other in copies(monitor):
        assert repr(other) == repr(monitor)
        assert other.watch(rewards, MASK, rm=rewards + 1) == want
    controller = optim.KlController(0.1, target=1.0, horizon=10.0)
    controller.update(2.0, 5)
    for other in copies(controller):
        assert other.value == controller.value
        other.update(2.0, 5)
        assert other.value != controller.value
    fresh = optim.KlController(0.1, target=1.0, horizon=10.0)
    fresh.load_state_dict(controller.state_dict())
    assert fresh.value == controller.value
    with pytest.raises(errors.OptimError, match="no number `beta`"):
        fresh.load_state_dict({})


def large():
    values = np.random.default_rng(3).normal(size=(512, 512))
    return optim.gae(values, values)[0]


def grandchild(queue):
    inner = multiprocessing.get_context("fork").Process(target=lambda: queue.put(large().sum()))
    queue.put(large().sum())
    inner.start()
    inner.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_and_its_child_compute_the_same():
    want = large().sum()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    children = [context.Process(target=grandchild, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=60)
        hung = child.is_alive()
        if hung:
            child.kill()
        assert not hung and child.exitcode == 0
    assert [queue.get() for _ in range(4)] == [want] * 4
    assert large().sum() == want, "the parent goes on with its own threads"


def test_gspo_has_the_gradient_of_its_loss_where_advantages_vary():
    numbers = np.random.default_rng(5)
    logp, moved, advantages = (numbers.normal(size=(3, 5)) for _ in range(3))
    old = logp - moved * 0.1
    correction = numbers.uniform(0.5, 1.5, size=(3, 5))
    wide = {"surrogate": "gspo", "clip_low": 0.9, "clip_high": 9.0, "correction": correction}
    slopes = optim.policy_loss(logp, old, advantages, **wide).dlogp
    step = 1e-6
    for place in np.ndindex(3, 5):
        up, down = logp.copy(), logp.copy()
        up[place] += step
        down[place] -= step
        change = optim.policy_loss(up, old, advantages, **wide).loss - optim.policy_loss(down, old, advantages, **wide).loss
        assert slopes[place] == pytest.approx(change / (2 * step), abs=1e-8)
    flat = np.repeat(advantages[:, :1], 5, axis=1)
    same = {**wide, "correction": None}
    both = [optim.policy_loss(logp, old, flat, **{**same, "surrogate": name}).dlogp for name in ("gspo", "gspo_token")]
    np.testing.assert_allclose(*both, rtol=1e-12)


def test_credit_by_turn():
    mask = np.array([[1, 1, 0, 1], [1, 0, 1, 1]])
    rewards = np.array([[0.5, 0.5, np.nan, 2.0], [0.0, np.nan, 1.0, 1.0]])
    advantages, returns = optim.turn_gae(rewards, np.zeros((2, 4)), mask, gamma=0.5, lam=1.0)
    np.testing.assert_allclose(advantages, [[2.0, 2.0, 0.0, 2.0], [1.0, 0.0, 2.0, 2.0]])
    np.testing.assert_allclose(returns, advantages)
    turns = optim.turn_group_advantages(rewards, [1.0, 3.0], ["a", "a"], mask, estimator="dr_grpo", coefficient=0.5)
    np.testing.assert_allclose(turns, [[0.0, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 1.0]])
    given = a_batch()
    for method in ("turn_gae", "otb", "turn_group"):
        config = {"preset": "paper" if method == "turn_gae" else "dapo", "advantage": {"method": method}}
        extra = {"sum_pi_squared": np.full((ROWS, WIDTH), 0.4), "turn_rewards": given["values"]}
        assert optim.Repo(config).step({**given, **extra}).dlogp.any()
    with pytest.raises(errors.OptimError, match="sum_pi_squared is needed"):
        optim.Repo({"preset": "dapo", "advantage": {"method": "otb"}}).step(given)
    with pytest.raises(errors.OptimError, match="turn_rewards is needed"):
        optim.Repo({"preset": "dapo", "advantage": {"method": "turn_group"}}).step(given)
