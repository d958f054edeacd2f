"""Trains with TRL's GRPOTrainer and guerdon's reward function on the CPU. `python3 scripts/test_trl.py [SERVER]`.

The model is tiny and random. The test checks that every part arrives in TRL's log, that training continues past a
completion that cannot be scored, and that a refused request ends the run. The first run makes a virtual environment
(about 7 GB from PyPI, because PyPI's torch includes CUDA). SERVER is the `guerdon` binary, by default
target/debug/guerdon; `make test-python` builds the wheel.
"""

import argparse
import math
import os
import pathlib
import re
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = pathlib.Path(os.environ.get("VENV", ROOT / ".venv-trl"))
PYTHON = VENV / "bin" / "python"
CONFIG = ROOT / "crates/guerdon-python/tests/guerdon.toml"
TOKEN = "let-me-in-please"
WANTED = "torch==2.8.0\ntransformers==4.57.6\ndatasets==5.0.1\naccelerate==1.15.0\ntrl==1.16.0\n"

TEMPLATE = (
    "{% for turn in messages %}<|im_start|>{{ turn['role'] }}\n{{ turn['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PARTS = [
    "guerdon/rm",
    "guerdon/rules",
    "guerdon/rm_abstained",
    "guerdon/judge_abstained",
    "guerdon/rules_abstained",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", default=ROOT / "target/debug/guerdon", type=pathlib.Path)
    parser.add_argument("--wheels", default=ROOT / ".venv-python/wheels", type=pathlib.Path)
    chosen = parser.parse_args()
    wheels = sorted(chosen.wheels.glob("guerdon-*.whl"))
    if not chosen.server.exists() or not wheels:
        sys.exit(f"cannot find {chosen.server} or a wheel in {chosen.wheels}; run `make test-python` first")
    install(wheels[-1])
    command = [chosen.server, "serve", "--config", CONFIG]
    environment = os.environ | {"GUERDON_TEST_TOKEN": TOKEN}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            asking = environment | {
                "GUERDON_URL": address(server),
                "GUERDON_KEY": TOKEN,
                "HF_HUB_OFFLINE": "1",
            }
            return subprocess.run([PYTHON, __file__, "--train"], env=asking, check=False).returncode
        finally:
            server.terminate()


def address(server: subprocess.Popen) -> str:
    for line in server.stdout:
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        if found:
            return found.group()
    sys.exit("the server stopped before it listened")


def install(wheel: pathlib.Path) -> None:
    """Installs the requirements, if they changed since the last run, and the wheel."""
    stamp = VENV / "installed.txt"
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not stamp.exists() or stamp.read_text() != WANTED:
        venv.create(VENV, with_pip=True, clear=True)
        subprocess.run([*pip, *WANTED.split()], check=True)
        stamp.write_text(WANTED)
    subprocess.run([*pip, "--no-deps", "--force-reinstall", wheel], check=True)


def train() -> int:
    """Runs the checks inside the virtual environment."""
    from guerdon.errors import ProblemError
    from guerdon.trl import reward

    sys.path.append(str(ROOT / "scripts/test_clients"))
    from loading import run_pasted

    [pasted] = run_pasted("trl.md", os.environ["GUERDON_URL"], {})["reward_funcs"]
    log, columns = run(pasted)
    for row in log:
        print(
            {name: round(value, 4) for name, value in row.items() if name.startswith(("reward", "guerdon"))}
        )
    assert len(log) == 3, log
    for row in log:
        assert all(math.isfinite(row[name]) for name in [*PARTS, "rewards/guerdon/mean", "reward"]), row
        assert row["guerdon/judge_abstained"] == 1.0 and row["guerdon/failed"] == 0.0, row
    assert all(isinstance(value, float) for value in columns["guerdon/rm"]), columns
    assert set(columns["guerdon/judge"]) == {None}, columns

    log, _ = run(reward(profile="unscorable"), steps=1)
    # The trainer writes a NaN as None.
    assert log[0]["guerdon/failed"] == 1.0 and log[0]["rewards/guerdon/mean"] is None, log
    assert log[0]["loss"] == 0.0, "a completion without a score must not contribute to the loss"

    try:
        run(reward(key="wrong"), steps=1)
    except ProblemError as error:
        assert error.status == 401, error
    else:
        raise AssertionError("a refusal must end the run")
    print("3 runs: every part is in the log; an unscored completion trains with loss 0; a refusal ends the run")
    return 0


def run(function, steps: int = 3) -> tuple[list[dict], dict[str, list]]:
    """Trains, and returns the log of every step and the columns of the completions table."""
    import tempfile

    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    asked = [
        {"role": "system", "content": "You negotiate."},
        {"role": "user", "content": "480 is our best price."},
    ]
    rows = {"prompt": [asked] * 4, "target_price": [420, 430, 440, None], "context": [{"language": "en"}] * 4}
    tokenizer = tiny_tokenizer()
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=12,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=tiny_model(tokenizer),
            args=settings,
            train_dataset=Dataset.from_dict(rows),
            processing_class=tokenizer,
            reward_funcs=[function],
        )
        trainer.train()
    log = [row for row in trainer.state.log_history if "reward" in row]
    return log, {name: list(values) for name, values in trainer._logs["extra"].items()}


def tiny_tokenizer():
    """Makes a tokenizer of bytes and ChatML's marks, because nothing can be fetched."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(marks + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=marks[1:],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
    )


def tiny_model(tokenizer):
    """Makes a Qwen2 of two layers with random weights."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    shape = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(shape)


if __name__ == "__main__":
    sys.exit(train() if "--train" in sys.argv else main())
