"""The functions shared by hooks: a trainer's data to rollouts, and results to logged numbers."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest

import guerdon
from guerdon import errors, hook


def test_messages_are_parsed_like_in_the_servers_adapters():
    turns = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "human",
            "content": [{"type": "text", "text": "48"}, {"type": "image"}, {"type": "text", "text": "0?"}],
        },
        {"role": "model", "content": None},
        {"role": "ipython", "content": "ok"},
    ]
    assert hook.messages(turns, "assistant") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "48\n0?"},
        {"role": "assistant", "content": ""},
        {"role": "tool", "content": "ok"},
    ]
    call = {"id": "1", "function": {"name": "rooms", "arguments": "{}"}}
    assert hook.messages([{"role": "gpt", "content": None, "tool_calls": [call]}], "assistant") == [
        {"role": "assistant", "content": "", "tool_calls": [call]}
    ]
    assert hook.messages("480?", "user") == [{"role": "user", "content": "480?"}]
    assert hook.messages("", "user") == [], "an empty prompt is no turn"
    assert hook.messages("", "assistant") == [{"role": "assistant", "content": ""}], (
        "an empty reply is a bad one"
    )


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("<think>low</think>\n420?", "420?"),
        ("  <think>cut off", ""),
        ("low\n</think>\n\n420?", "420?"),
        ("[THINK]low[/THINK]420?", "420?"),
        ("<think>a</think>\n<think>b</think>\n420?", "420?"),
        ("</think><think>a</think>420?", "420?"),
        (
            "<|channel|>analysis<|message|>low<|end|><|start|>assistant<|channel|>final<|message|>420?<|return|>",
            "420?",
        ),
        ("<|channel|>analysis<|message|>cut off", ""),
        (
            "<|channel|>commentary to=functions.rooms <|constrain|>json<|message|>{}<|call|>"
            "<|start|>assistant<|channel|>final<|message|>420?",
            "420?",
        ),
        ("analysislow.assistantfinal420?", "420?"),
        ("420? <think>late</think>", "420? <think>late</think>"),
        ("420?", "420?"),
    ],
)
def test_thoughts_at_the_start_of_a_reply_are_removed(reply, said):
    assert hook.without_thoughts(reply) == said
    assert hook.Settings().rollout("p", reply)["messages"][-1]["content"] == said
    assert hook.Settings(thoughts="keep").rollout("p", reply)["messages"][-1]["content"] == reply


def test_end_markers_of_a_reply_are_removed():
    assert hook.without_end("420?<|im_end|>\n<|endoftext|>") == "420?"
    assert hook.without_end("a </s> b") == "a </s> b"


def test_score_all_covers_only_turns_of_the_completion():
    asked = [{"role": "assistant", "content": "old"}, {"role": "user", "content": "480?"}]
    said = [
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "t"},
        {"role": "assistant", "content": "b"},
    ]
    assert hook.Settings(score="all").rollout(asked, said)["score"] == [2, 4]
    assert hook.Settings().rollout(asked, said)["score"] == "last"


def test_a_fact_names_the_profile_of_its_rollout():
    mixed = hook.Settings(profile_from="task")
    rollout = mixed.rollout("p", "r", {"task": "flight", "target_price": 420})
    assert (rollout["profile"], rollout["context"]) == ("flight", {"target_price": 420})
    assert "profile" not in mixed.rollout("p", "r", {"target_price": 420})
    assert "profile" not in mixed.rollout("p", "r")
    assert hook.Settings().rollout("p", "r", {"task": "flight"})["context"] == {"task": "flight"}


def test_media_stand_as_their_kinds():
    parts = [{"type": "text", "text": "48"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "0"}]
    [message] = hook.messages([{"role": "user", "content": parts}], "user")
    assert message["content"] == "48\n[image]\n0"
    [message] = hook.messages([{"role": "user", "content": [{"type": "input_audio"}, {"type": "odd"}]}], "user")
    assert message["content"] == "[audio]"


def test_objects_and_json_texts_of_objects_are_facts():
    assert hook.facts({"target_price": 420, "padded": None}) == {"target_price": 420}
    assert hook.facts('{"target_price": 420}') == {"target_price": 420}
    assert hook.facts("{42}") == {"label": "{42}"}
    assert hook.facts(np.float64(420.0), "ground_truth") == {"ground_truth": 420.0}
    assert hook.facts(None) == {}


def test_settings_come_from_the_environment_and_invalid_ones_are_named(monkeypatch):
    monkeypatch.setenv("GUERDON_URL", "http://h:1")
    monkeypatch.setenv("GUERDON_ON_FAILURE", "-1")
    assert (hook.Settings().url, hook.Settings().on_failure) == ("http://h:1", -1.0)
    assert hook.Settings(url="http://h:2", on_failure="none").url == "http://h:2"
    for wrong in ("nan", "zero", float("inf")):
        with pytest.raises(errors.ConfigError, match="on_failure"):
            hook.Settings(on_failure=wrong)


def test_logged_names_are_the_same_if_parts_are_missing():
    turn = {"index": 1, "reward": 1.0, "enhancement": None, "abstained": [], "rm": {"score": 1.0}}
    scored = hook.numbers({"id": "0", "reward": 1.0, "turns": [turn]})
    failed = hook.numbers({"id": "0", "reward": None, "turns": []})
    assert scored.keys() == failed.keys()
    assert (scored["rm_partly"], failed["rm_partly"]) == (0.0, 0.0)
    assert (scored["rm"], scored["rm_abstained"], scored["judge_abstained"], scored["failed"]) == (
        1.0,
        0.0,
        1.0,
        0.0,
    )
    assert (failed["rm"], failed["rm_abstained"], failed["failed"]) == (0.0, 1.0, 1.0)


MADE = {
    "trl": lambda **given: importlib.import_module("guerdon.trl").reward(**given),
    "verl": lambda **given: importlib.import_module("guerdon.verl").compute_score_sync(
        "d", "a", None, {"messages": []}, reward_router_address="h:1", **given
    ),
    "areal": lambda **given: importlib.import_module("guerdon.areal").Reward(**given),
    "settings": lambda **given: hook.Settings.given(given),
}


def misspelt(name):
    """Every name with a letter left out, doubled or swapped with the next."""
    for at in range(len(name)):
        yield name[:at] + name[at + 1 :]
        yield name[:at] + name[at] + name[at:]
        yield name[:at] + name[at : at + 2][::-1] + name[at + 2 :]


@pytest.mark.parametrize("made", MADE, ids=str)
def test_misspelt_settings_are_refused_with_a_suggestion(made):
    names = hook.Settings.__dataclass_fields__
    for name in names:
        for wrong in {*misspelt(name)} - {*names, ""}:
            with pytest.raises(errors.ConfigError, match=f"no setting `{re.escape(wrong)}`") as raised:
                MADE[made](**{wrong: "hotel"})
            assert name in str(raised.value) and raised.value.field == wrong


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", "lst"), ("thoughts", "dorp"), ("timeout", "soon"), ("timeout", -1), ("retries", 1.5), ("retries", -1)],
)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(errors.ConfigError, match=f"`{name}`"):
        hook.Settings(**{name: value})


def test_secrets_are_not_shown():
    shown = repr(hook.Settings(url="http://me:s3cret@h", key="s3cret"))
    shown += repr(guerdon.Client("http://me:s3cret@h:1/a?key=s3cret", key="s3cret", profile="hotel"))
    assert "s3cret" not in shown and "h:1/a" in shown and "hotel" in shown


def test_no_hook_imports_its_trainer_before_first_use():
    names = ["trl", "verl", "ms_swift", "openrlhf", "skyrl", "nemo_rl", "areal"]
    names += ["verifiers", "openenv", "art", "atropos", "tinker"]
    for name in names:
        importlib.import_module(f"guerdon.{name}")
    foreign = "{'torch', 'trl', 'verl', 'swift', 'openrlhf', 'skyrl_gym', 'nemo_rl', 'areal', 'pandas', "
    foreign += "'verifiers', 'openenv', 'art', 'atroposlib', 'tinker_cookbook', 'pydantic'}"
    hooks = ", ".join(f"guerdon.{name}" for name in names)
    code = f"import sys, {hooks}; assert not {foreign} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
