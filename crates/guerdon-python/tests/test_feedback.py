"""The inputs of an update from scored rollouts: dtypes, groups, parts, and rollouts that are left out."""

import itertools
import re

import numpy as np
import pytest
from conftest import ROOT, TOKEN

import guerdon
from guerdon import errors, optim

VERSIONS = {"profile": "hotel", "fusion": {}, "generation": 1}
USAGE = {"judge_calls": 0, "judge_cache_hits": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0}
SILENT = {"source": "judge", "why": "unreachable", "detail": "down"}


def result(index, reward, judge=None, rules=None, abstained=()):
    turn = {"index": 1, "reward": reward, "enhancement": None, "abstained": list(abstained)}
    if reward is not None:
        turn["rm"] = {"score": reward, "raw": reward, "tokens": 3, "truncated": False}
    if judge is not None:
        turn["judge"] = {"points": judge, "criteria": [], "cached": False, "model": "m"}
    if rules is not None:
        turn["rules"] = {"points": rules, "hits": []}
    error = {} if reward is not None else {"error": {"detail": "too long"}}
    return {"id": str(index), "reward": reward, "turns": [turn], **error}


@pytest.fixture
def scored():
    """Four rollouts: complete; without a judge; with a rule that lacks a fact; without a reward."""
    partly = {"source": "rules", "why": "missing_fact", "detail": "no price"}
    results = [
        result(0, 1.0, judge=10.0, rules=-5.0),
        result(1, 2.0, rules=0.0, abstained=[SILENT]),
        result(2, 3.0, judge=0.0, rules=-1.0, abstained=[partly]),
        result(3, None, abstained=[SILENT]),
    ]
    groups = [{"id": "a", "comparable": False, "missing": []}]
    return guerdon.Scored(
        results=results, versions=[VERSIONS], version_of=[0] * 4, request_ids=["q"], usage=USAGE, groups=groups,
        comparable=[False, False, True, True], group_of=[0, 0, 1, 1],
    )  # fmt: skip


def test_every_policy_drops_its_rollouts_and_never_one_more(scored):
    expected = {
        "drop": [True, True, True, False],
        "drop_incomplete": [True, False, False, False],
        "drop_incomparable": [False, False, True, False],
    }
    for (policy, kept), dtype in itertools.product(expected.items(), ("float32", np.float64)):
        feedback = scored.feedback(dtype, unscored=policy)
        assert feedback.kept.tolist() == kept and feedback.dropped == kept.count(False)
        assert (~np.isnan(feedback.rewards)).tolist() == kept, policy
        assert feedback.groups.tolist() == [0, 0, 1, 1]
        for array in (feedback.rewards, feedback.rm, feedback.judge, feedback.rules):
            assert array.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(feedback.judge, np.array([10, np.nan, 0, np.nan]))
    with pytest.raises(errors.UnscoredError, match="rollout `3` has no reward: too long"):
        scored.feedback(unscored="refuse")
    with pytest.raises(errors.ConfigError, match="drop_incomplete"):
        scored.feedback(unscored="drop_incomplet")


def test_a_dtype_is_given_in_any_form_and_others_are_refused(scored):
    for like in (np.float32, np.dtype("float32"), "float32", np.zeros(3, np.float32), np.float32(1)):
        assert scored.feedback(like).rewards.dtype == np.float32
    for wrong in (np.float16, np.int64, "bfloat16", "nonsense", object(), np.zeros(2, np.int32)):
        with pytest.raises(errors.OptimError, match="float32"):
            scored.feedback(wrong)


def test_silent_and_partly_silent_are_told_apart(scored):
    assert scored.abstained("judge").tolist() == [False, True, False, True]
    assert scored.partly("judge").tolist() == [False] * 4
    assert scored.abstained("rules").tolist() == [False, False, False, True]
    assert scored.partly("rules").tolist() == [False, False, True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_feedback_makes_a_batch_for_every_preset_that_needs_groups(scored, dtype):
    feedback = scored.feedback(dtype)
    logp = np.full((4, 5), -1.0, dtype=dtype)
    for method in ("group", "opo", "gdpo"):
        repo = optim.Repo({"preset": "grpo", "advantage": {"method": method}, "kl_loss": None})
        update = repo.step(feedback.batch(logp, logp, mask=[5, 4, 3, 2]))
        assert np.isfinite(update.loss) and update.dlogp.dtype == dtype
        assert not update.dlogp[3].any(), "a rollout without a reward has no gradient"
        assert not update.dlogp[1, 4:].any(), "padding has no gradient"
    with pytest.raises(errors.OptimError, match="3 rows, but 4 rollouts"):
        feedback.batch(logp[:3], logp[:3])


def test_tensors_of_torch_are_read_with_gradients(scored):
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64):
        logp = torch.full((4, 5), -1.0, dtype=dtype, requires_grad=True)
        mask = torch.arange(5)[None, :] < torch.tensor([5, 4, 3, 2])[:, None]
        repo = optim.Repo({"preset": "grpo", "kl_loss": None})
        for like in (dtype, logp):
            update = repo.step(scored.feedback(like).batch(logp, logp.detach(), mask))
        (torch.from_numpy(update.dlogp) * logp).sum().backward()
        assert logp.grad.dtype == dtype and bool(logp.grad.abs().sum() > 0) and not bool(logp.grad[3].any())
    with pytest.raises(errors.OptimError, match="float32"):
        scored.feedback(torch.bfloat16)


def test_groups_come_from_the_request(url, rollouts):
    client = guerdon.Client(url, key=TOKEN, chunk=1)
    names = ["b", None, "a", "b", None]
    batch = [{**rollouts[0], "group": name} if name else {"messages": rollouts[0]["messages"]} for name in names]
    assert client.score(batch).feedback().groups.tolist() == [0, 1, 2, 0, 3]


@pytest.mark.parametrize("page", ["crates/guerdon-python/README.md"])
def test_the_loop_of_the_documentation_runs_as_it_is(url, page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (loop,) = [block for block in blocks if ".feedback(" in block and "import torch" not in block]
    text = loop.replace('"http://127.0.0.1:8787"', f'"{url}", key="{TOKEN}"')
    scope = {}
    exec(compile(text, page, "exec"), scope)
    assert scope["update"].dlogp.dtype == np.float32 and scope["update"].dlogp.any()
