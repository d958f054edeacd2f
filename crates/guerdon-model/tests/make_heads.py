"""Write tests/heads/: a graph of a few kilobytes with every form of output, and reference scores computed by NumPy.

    python tests/make_heads.py            needs numpy, onnx and ml_dtypes, which no other part of the tests needs

The hidden state of a token is the sum of the embeddings up to it, so that the state of the last token depends on the whole
text. All numbers are small multiples of a power of two: the arithmetic is exact in any order, and the expected scores are
compared bit by bit. `cases.json` holds the manifests, the dialogues and the scores; `int32.onnx` is the same graph with int32
inputs; the manifest is that of the case "weights with objectives". The output is the same in every run.
"""

import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = Path(__file__).parent / "heads"
WORDS = """[PAD] [UNK] [CLS] [SEP] <step> <reward> system user assistant tool : . , ? ! yes no 480 420 could we meet at thank
you room night for two call me later i will final offer deal not 400 500 and breakfast included one plus is three so""".split()
VOCAB = {word: number for number, word in enumerate(WORDS)}
WIDTH, MAX_TOKENS = 4, 32
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "<step>", "<reward>")
CHAT = "[CLS]{% for m in messages %} {{ m.role }} : {{ m.content }} [SEP]{% endfor %}"


def tokenizer():
    special = [{"id": VOCAB[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for t in SPECIAL]
    token = lambda name, segment: {"SpecialToken": {"id": name, "type_id": segment}}
    text = lambda name, segment: {"Sequence": {"id": name, "type_id": segment}}
    return {
        "version": "1.0", "truncation": None,
        "padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                    "pad_token": "[PAD]"},
        "added_tokens": special, "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)],
            "special_tokens": {t: {"id": t, "ids": [VOCAB[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": None, "model": {"type": "WordLevel", "vocab": VOCAB, "unk_token": "[UNK]"},
    }


def weights():
    random = np.random.default_rng(16)
    part = lambda *shape: (random.integers(-6, 7, shape) / 4).astype(np.float32)
    return {"table": part(len(WORDS), WIDTH), "five": part(WIDTH, 5), "three": part(WIDTH, 3), "four": part(WIDTH, 4),
            "gates": part(WIDTH, 4)}


def graph(parts, kind):
    node = helper.make_node
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [helper.make_tensor_value_info(name, kind, ["batch", "tokens"]) for name in names]
    constants = [numpy_helper.from_array(value, name) for name, value in parts.items()]
    constants += [numpy_helper.from_array(np.array(value, dtype), name) for name, value, dtype in (
        ("last", [-1], np.int64), ("one", [1], np.int64), ("axis", 1, np.int64), ("half", 0.5, np.float32))]
    nodes = [
        node("Gather", ["table", "input_ids"], ["embedded"]),
        node("Cast", ["token_type_ids"], ["segments"], to=TensorProto.FLOAT),
        node("Mul", ["segments", "half"], ["halved"]),
        node("Unsqueeze", ["halved", "last"], ["segments3"]),
        node("Add", ["embedded", "segments3"], ["typed"]),
        node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["mask", "last"], ["mask3"]),
        node("Mul", ["typed", "mask3"], ["masked"]),
        node("CumSum", ["masked", "axis"], ["hidden"]),
        node("ReduceSum", ["masked", "one"], ["pooled"], keepdims=0),
        node("ReduceSum", ["pooled", "last"], ["flat"], keepdims=0),
        node("ReduceSum", ["pooled", "last"], ["column"], keepdims=1),
        node("MatMul", ["pooled", "five"], ["five_single"]),
        node("Cast", ["five_single"], ["five_labels"], to=TensorProto.FLOAT16),
        node("Cast", ["five_single"], ["five_double"], to=TensorProto.DOUBLE),
        node("ReduceSum", ["hidden", "last"], ["at_tokens"], keepdims=0),
        node("MatMul", ["hidden", "three"], ["labels_at_tokens"]),
        node("Transpose", ["table"], ["unembedding"]),
        node("MatMul", ["hidden", "unembedding"], ["vocabulary_single"]),
        node("Cast", ["vocabulary_single"], ["vocabulary"], to=TensorProto.BFLOAT16),
        node("MatMul", ["pooled", "four"], ["rewards"]),
        node("MatMul", ["pooled", "gates"], ["gating_output"]),
        node("Mul", ["rewards", "gating_output"], ["gated"]),
        node("ReduceSum", ["gated", "last"], ["score"], keepdims=0),
        node("Unsqueeze", ["hidden", "one"], ["deep"]),
        node("Identity", ["input_ids"], ["numbers"]),
    ]
    floats = {"flat": ["batch"], "column": ["batch", 1], "at_tokens": ["batch", "tokens"],
              "labels_at_tokens": ["batch", "tokens", 3], "rewards": ["batch", 4], "gating_output": ["batch", 4],
              "score": ["batch"], "deep": ["batch", 1, "tokens", WIDTH]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in floats.items()]
    outputs += [helper.make_tensor_value_info("five_labels", TensorProto.FLOAT16, ["batch", 5]),
                helper.make_tensor_value_info("five_double", TensorProto.DOUBLE, ["batch", 5]),
                helper.make_tensor_value_info("vocabulary", TensorProto.BFLOAT16, ["batch", "tokens", len(WORDS)]),
                helper.make_tensor_value_info("numbers", kind, ["batch", "tokens"])]
    made = helper.make_graph(nodes, "heads", inputs, outputs, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="make_heads")
    onnx.checker.check_model(model, full_check=True)
    return model


class Reference:
    """The graph and the heads in NumPy, in double precision."""

    def __init__(self, parts):
        self.parts = {name: value.astype(np.float64) for name, value in parts.items()}

    def words(self, text):
        spaced = text.lower()
        for mark in ":.,?!":
            spaced = spaced.replace(mark, f" {mark} ")
        return [VOCAB.get(word, VOCAB["[UNK]"]) for word in spaced.split()]

    def chat(self, messages):
        ids = [VOCAB["[CLS]"]]
        for message in messages:
            ids += [VOCAB[message["role"]], VOCAB[":"], *self.words(message["content"]), VOCAB["[SEP]"]]
        return ids, [0] * len(ids)

    def pair(self, messages):
        context, reply = self.words("\n".join(m["content"] for m in messages[:-1])), self.words(messages[-1]["content"])
        room = MAX_TOKENS - 3
        kept = min(len(context), max(room // 4, room - len(reply)))
        context = context[len(context) - kept:]
        kept = min(len(reply), room - kept)
        if kept < len(reply):
            reply = reply[: -(-kept // 2)] + reply[len(reply) - kept // 2:]
        first = [VOCAB["[CLS]"], *context, VOCAB["[SEP]"]]
        second = [*reply, VOCAB["[SEP]"]]
        return first + second, [0] * len(first) + [1] * len(second)

    def outputs(self, ids, segments):
        typed = self.parts["table"][ids] + np.array(segments)[:, None] / 2
        hidden = np.cumsum(typed, axis=0)
        pooled = typed.sum(axis=0)
        five = pooled @ self.parts["five"]
        rewards, gates = pooled @ self.parts["four"], pooled @ self.parts["gates"]
        vocabulary = (hidden @ self.parts["table"].T).astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)
        return {"flat": pooled.sum(), "column": pooled.sum(), "five_labels": five.astype(np.float16).astype(np.float64),
                "five_double": five, "at_tokens": hidden.sum(axis=1), "labels_at_tokens": hidden @ self.parts["three"],
                "vocabulary": vocabulary, "rewards": rewards, "gating_output": gates, "score": (rewards * gates).sum()}


def softmax(x):
    shares = np.exp(x - x.max())
    return shares / shares.sum()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step_places(ids):
    return [place for place, id in enumerate(ids) if id == VOCAB["<step>"]]


PAIR = {"format": "pair"}
STEPS = {"format": "chat", "steps": 'split = "\\n"\nmark = "<step>"'}
YES, NO = VOCAB["yes"], VOCAB["no"]
# Name, input, the output section, the score of the graph's outputs, and the objectives.
CASES = [
    ("one value per text", PAIR, 'name = "flat"', lambda o, ids: o["flat"], None),
    ("one label", PAIR, 'name = "column"', lambda o, ids: o["column"], None),
    ("a label of five, in float16", PAIR, 'name = "five_labels"\nindex = 3', lambda o, ids: o["five_labels"][3], None),
    ("a label of five, in double", PAIR, 'name = "five_double"\nindex = 0', lambda o, ids: o["five_double"][0], None),
    ("a difference", PAIR, 'name = "five_labels"\ndifference = [4, 1]', lambda o, ids: o["five_labels"][4] - o["five_labels"][1], None),
    ("weights", PAIR, 'name = "five_double"\nweights = [0.25, -1, 2.5, 0, 8]',
     lambda o, ids: o["five_double"] @ np.array([0.25, -1, 2.5, 0, 8]), None),
    ("weights with objectives", PAIR, 'name = "rewards"\nweights = [1, 2, 0, -0.5]\nlabels = ["help", "honest", "safe", "short"]',
     lambda o, ids: o["rewards"] @ np.array([1, 2, 0, -0.5]), lambda o: dict(zip(("help", "honest", "safe", "short"), o["rewards"]))),
    ("gating", {"format": "chat"}, 'name = "rewards"\ngating = "gating_output"\nlabels = ["help", "honest", "safe", "short"]',
     lambda o, ids: o["score"], lambda o: dict(zip(("help", "honest", "safe", "short"), o["rewards"]))),
    ("objectives of another output", {"format": "chat"}, 'name = "score"\nobjectives = "rewards"\nlabels = ["a", "b", "c", "d"]',
     lambda o, ids: o["score"], lambda o: dict(zip("abcd", o["rewards"]))),
    ("softmax over labels", PAIR, 'name = "five_labels"\nactivation = "softmax"\nindex = 1',
     lambda o, ids: softmax(o["five_labels"])[1], None),
    ("sigmoid of one label", PAIR, 'name = "column"\nactivation = "sigmoid"', lambda o, ids: sigmoid(o["column"]), None),
    ("a value at the last token", {"format": "chat"}, 'name = "at_tokens"\nposition = "last"', lambda o, ids: o["at_tokens"][-1], None),
    ("a label at the first token", PAIR, 'name = "labels_at_tokens"\nposition = "first"\nindex = 2',
     lambda o, ids: o["labels_at_tokens"][0][2], None),
    ("the logit of a token", {"format": "chat"}, f'name = "vocabulary"\nposition = "last"\ntokens = [{YES}]',
     lambda o, ids: o["vocabulary"][-1][YES], None),
    ("a yes after a suffix", {"format": "chat", "suffix": "<reward>"},
     'name = "vocabulary"\nposition = "last"\ntokens = ["yes", "no"]\nactivation = "softmax"\nindex = 0',
     lambda o, ids: softmax(o["vocabulary"][-1][[YES, NO]])[0], None),
    ("the lowest step", STEPS, 'name = "at_tokens"\nposition = "step"\naggregate = "min"\nactivation = "sigmoid"',
     lambda o, ids: min(sigmoid(o["at_tokens"][step_places(ids)])), None),
    ("the product of the steps", STEPS, 'name = "labels_at_tokens"\nposition = "step"\naggregate = "prod"\nactivation = "softmax"\nindex = 1',
     lambda o, ids: np.prod([softmax(row)[1] for row in o["labels_at_tokens"][step_places(ids)]]), None),
    ("the last step", STEPS, 'name = "labels_at_tokens"\nposition = "step"\naggregate = "last"\ndifference = [0, 2]',
     lambda o, ids: o["labels_at_tokens"][step_places(ids)[-1]] @ [1, 0, -1], None),
    ("the mean of the steps of a language model", STEPS,
     'name = "vocabulary"\nposition = "step"\naggregate = "mean"\ntokens = ["yes", "no"]\nactivation = "softmax"\nindex = 0',
     lambda o, ids: np.mean([softmax(row[[YES, NO]])[0] for row in o["vocabulary"][step_places(ids)]]), None),
]

# The scores of the steps, for the cases of process reward models.
STEP_SCORES = {
    "the lowest step": lambda o, at: sigmoid(o["at_tokens"][at]),
    "the product of the steps": lambda o, at: [softmax(row)[1] for row in o["labels_at_tokens"][at]],
    "the last step": lambda o, at: o["labels_at_tokens"][at] @ [1, 0, -1],
    "the mean of the steps of a language model": lambda o, at: [softmax(row[[YES, NO]])[0] for row in o["vocabulary"][at]],
}

say = lambda *turns: [{"role": role, "content": content} for role, content in turns]
DIALOGUES = [
    say(("user", "480 ?"), ("assistant", "no")),
    say(("user", "could we meet at 420 ?"), ("assistant", "400 is final .\nno breakfast .\n\ndeal ?")),
    say(("system", "you will call me"), ("user", "one plus two"), ("assistant", "is three"), ("user", "so ?"),
        ("assistant", "one plus two is three\nso yes")),
    say(("assistant", "thank you for two nights")),
]
LONG = [
    say(("user", "could we meet at 420 ? " * 9), ("assistant", "deal !")),
    say(("user", "500 ?"), ("assistant", "no deal . " * 14)),
    say(("user", "480 and 500 ? " * 9), ("assistant", "yes included . " * 14)),
]


def main():
    OUT.mkdir(exist_ok=True)
    parts = weights()
    reference = Reference(parts)
    onnx.save(graph(parts, TensorProto.INT64), OUT / "model.onnx")
    onnx.save(graph(parts, TensorProto.INT32), OUT / "int32.onnx")
    (OUT / "tokenizer.json").write_text(json.dumps(tokenizer()) + "\n")
    (OUT / "chat_template.jinja").write_text(CHAT)
    cases = []
    for name, shape, output, score, objectives in CASES:
        rows = []
        for messages in DIALOGUES + (LONG if shape["format"] == "pair" else []):
            read = messages
            if "steps" in shape:
                steps = [step for step in messages[-1]["content"].split("\n") if step.strip()]
                read = [*messages[:-1], {"role": "assistant", "content": "".join(f"{step} <step> " for step in steps)}]
            ids, segments = reference.pair(read) if shape["format"] == "pair" else reference.chat(read)
            if "suffix" in shape:
                ids, segments = [*ids, VOCAB[shape["suffix"]]], [*segments, 0]
            outputs = reference.outputs(ids, segments)
            row = {"messages": messages, "tokens": len(ids), "score": float(np.float32(score(outputs, ids)))}
            if objectives:
                row["objectives"] = {key: float(np.float32(value)) for key, value in objectives(outputs).items()}
            if name in STEP_SCORES:
                row["steps"] = [float(np.float32(step)) for step in STEP_SCORES[name](outputs, step_places(ids))]
            rows.append(row)
        cases.append({"name": name, "format": shape["format"], "suffix": shape.get("suffix"), "steps": shape.get("steps"),
                      "output": output, "rows": rows})
    name, _, output, *_ = next(case for case in CASES if case[0] == "weights with objectives")
    digest = {file: hashlib.sha256((OUT / file).read_bytes()).hexdigest() for file in ("model.onnx", "tokenizer.json")}
    (OUT / "guerdon.model.toml").write_text(f"""# Written by make_heads.py.
name = "{name}"
[files]
model = "model.onnx"
model_sha256 = "{digest['model.onnx']}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{digest['tokenizer.json']}"
[input]
format = "pair"
max_tokens = {MAX_TOKENS}
[output]
{output}
[calibration]
mean = 0.0
std = 1.0
""")
    (OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


main()
