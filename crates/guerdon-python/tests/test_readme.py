"""The README's Python and the modules' examples, as they stand there."""

import doctest
import re

import pytest
from conftest import ROOT, TOKEN

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "crates/guerdon-python/README.md").read_text(), re.DOTALL)


def test_the_first_lines_score_a_dialogue(url):
    scope = {}
    text = (
        BLOCKS[0].replace('"http://127.0.0.1:8787"', f'"{url}"').replace('profile="hotel"', f'key="{TOKEN}"')
    )
    exec(compile(text, "README.md", "exec"), scope)
    assert isinstance(scope["scored"].rewards[0], float)
    exec(compile(BLOCKS[1], "README.md", "exec"), scope)
    assert scope["stream"].summary["results"] == 8


def test_the_optimizers_lines_step():
    scope = {}
    exec(compile(BLOCKS[2], "README.md", "exec"), scope)
    assert scope["update"].loss == pytest.approx(0.0, abs=1e-7)
    assert scope["update"].advantages[:, 0].tolist() == [-1.0, 1.0, 0.0, 0.0]


def test_the_modules_examples_are_true():
    import guerdon.optim

    told = doctest.testmod(guerdon.optim)
    assert (told.attempted, told.failed) == (4, 0)
