"""Write tests/tiny/: a reward model of a few kilobytes, with reference scores computed by NumPy.

    python tests/make_tiny.py            needs numpy and onnx, which no other part of the tests needs

The model embeds tokens, averages them under the mask, and applies one linear unit. It has no
knowledge; it serves to compare every step around it (text, ids, truncation, padding, batches) with
numbers computed independently. The output is the same in every run.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parent / "tiny"
WORDS = """[PAD] [UNK] [CLS] [SEP] system user assistant tool : . , ? ! be kind the price is our best 480 420 could we meet
at thank you no yes room night for two call me later i will ask final offer deal not 400 500 and breakfast included""".split()
VOCAB = {word: i for i, word in enumerate(WORDS)}
WIDTH, MAX_TOKENS = 8, 24
PREFIX = {role: f"{role}: " for role in ("system", "user", "assistant", "tool")}


def tokenizer():
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for t, i in VOCAB.items() if t.startswith("[")]
    piece = [{"SpecialToken": {"id": t, "type_id": 0}} for t in ("[CLS]", "[SEP]")]
    return {
        "version": "1.0",
        # Intended: a reader that leaves these enabled gets every score below wrong.
        "truncation": {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [piece[0], {"Sequence": {"id": "A", "type_id": 0}}, piece[1]],
            "pair": [piece[0], {"Sequence": {"id": "A", "type_id": 0}}, piece[1], {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [VOCAB[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": VOCAB, "unk_token": "[UNK]"},
    }


def encode(messages, index):
    """The rules of the crate without a tokenizer library. The dialogues below can be split at spaces."""
    def ids(window):
        text = "\n".join(PREFIX[m["role"]] + m["content"] for m in window)
        words = text.lower().replace(":", " : ").split()
        return [VOCAB["[CLS]"], *(VOCAB.get(w, VOCAB["[UNK]"]) for w in words), VOCAB["[SEP]"]]

    window = messages[: index + 1]
    for start in range(len(window)):
        found = ids(window[start:])
        if len(found) <= MAX_TOKENS:
            return found, start > 0
    return found[:1] + found[-(MAX_TOKENS - 1):], True


def graph(table, weight, bias):
    batch, seq = "batch", "sequence"
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, [batch, seq]) for n in names]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
        # Segment ids must be 0: other values change the score by far more than the tolerance.
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["types", "last"], ["types3"]),
        helper.make_node("Add", ["embedded", "types3"], ["typed"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
        helper.make_node("Mul", ["typed", "mask3"], ["masked"]),
        helper.make_node("ReduceSum", ["masked", "one"], ["summed"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "one"], ["count"], keepdims=1),
        helper.make_node("Div", ["summed", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
    ]
    constants = {"table": table, "weight": weight, "bias": bias, "one": np.array([1]), "last": np.array([-1])}
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 1])
    made = helper.make_graph(nodes, "tiny", inputs, [output],
                             [numpy_helper.from_array(value, name) for name, value in constants.items()])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="make_tiny")
    onnx.checker.check_model(model, full_check=True)
    return model


def dialogues():
    def say(*turns):
        return [{"role": role, "content": content} for role, content in turns]

    yield say(("user", "480 is our best price ."), ("assistant", "Could we meet at 420 ?")), 1
    yield say(("system", "Be kind ."), ("user", "No ."), ("assistant", "Thank you , deal ."), ("user", "Yes ?"),
              ("assistant", "Deal not final .")), 2
    yield say(("assistant", "")), 0
    yield say(("tool", "500"), ("assistant", "zebra 480")), 1
    # Too long: whole messages are dropped, oldest first.
    yield say(("system", "Be kind ."), ("user", "The price is 480 for two and breakfast is included ."),
              ("assistant", "No ."), ("user", "Could we meet at 420 ?"), ("assistant", "I will ask and call you later .")), 4
    # The scored message alone is too long: its end is kept.
    yield say(("user", "Yes ?"), ("assistant", " ".join(["the price is 420 and the room is not final ,"] * 4) + " deal !")), 1


def main():
    rng = np.random.default_rng(7)
    table = rng.normal(size=(len(VOCAB), WIDTH)).astype(np.float32)
    weight = rng.normal(size=(WIDTH, 1)).astype(np.float32)
    bias = np.array([0.25], np.float32)
    OUT.mkdir(exist_ok=True)
    onnx.save(graph(table, weight, bias), OUT / "model.onnx")
    (OUT / "tokenizer.json").write_text(json.dumps(tokenizer(), indent=1) + "\n")
    digest = {f: hashlib.sha256((OUT / f).read_bytes()).hexdigest() for f in ("model.onnx", "tokenizer.json")}
    prefix = "".join(f'{role} = "{text}"\n' for role, text in PREFIX.items())
    (OUT / "guerdon.model.toml").write_text(f"""# Written by make_tiny.py.
name = "tiny"
about = "a test model that knows nothing"
license = "MIT OR Apache-2.0"
[files]
model = "model.onnx"
model_sha256 = "{digest['model.onnx']}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{digest['tokenizer.json']}"
[input]
format = "plain"
max_tokens = {MAX_TOKENS}
separator = "\\n"
[input.prefix]
{prefix}[output]
name = "logits"
[calibration]
mean = 0.5
std = 2.0
measured_on = "nothing; round numbers"
""")
    with open(OUT / "reference.jsonl", "w") as out:
        for messages, index in dialogues():
            ids, truncated = encode(messages, index)
            mean = table[ids].astype(np.float64).mean(axis=0)
            score = float((mean @ weight.astype(np.float64) + bias)[0])
            row = {"messages": messages, "index": index, "ids": ids, "truncated": truncated, "score": round(score, 7)}
            out.write(json.dumps(row) + "\n")


main()
