"""The Python of the README and the examples in docstrings, run verbatim."""

import doctest
import re

import pytest
from conftest import ROOT, TOKEN

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "crates/guerdon-python/README.md").read_text(), re.DOTALL)


def test_the_client_example_scores_a_dialogue(url):
    scope = {}
    text = (
        BLOCKS[0].replace('"http://127.0.0.1:8787"', f'"{url}"').replace('profile="hotel"', f'key="{TOKEN}"')
    )
    exec(compile(text, "README.md", "exec"), scope)
    assert isinstance(scope["scored"].rewards[0], float)
    exec(compile(BLOCKS[1], "README.md", "exec"), scope)
    assert scope["stream"].summary["results"] == 8


def test_the_optimizer_example_runs():
    scope = {}
    exec(compile(BLOCKS[3], "README.md", "exec"), scope)
    assert scope["update"].loss == pytest.approx(0.0, abs=1e-7)
    assert scope["update"].advantages[:, 0].tolist() == [-1.0, 1.0, 0.0, 0.0]
    exec(compile(BLOCKS[4], "README.md", "exec"), scope)
    assert scope["improved"].dlogp.shape == (2, 8)


def test_the_examples_in_docstrings_pass():
    import guerdon.optim

    outcome = doctest.testmod(guerdon.optim)
    assert (outcome.attempted, outcome.failed) == (4, 0)
