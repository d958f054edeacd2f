"""Write tests/pad-pooled/: a reward model of a few kilobytes whose score depends on the id of the padding.

    python tests/make_pad_pooled.py            needs onnx, which no other part of the tests needs

The score is the id of the text's last token, divided by 100. As in the decoders of transformers'
ForSequenceClassification, the graph takes the last token that is not its own padding id (1) as the end
of the text, and ignores the attention mask. If a text is padded with another id, it is pooled at its
padding. tokenizer.json has no `padding` section; transformers writes one only if the last call before
saving padded. The output is the same in every run.
"""

import hashlib
import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

OUT = Path(__file__).parent / "pad-pooled"
PAD = 1
WORDS = ["!", "<|endoftext|>", "[UNK]", "user", "assistant", "system", "tool", ":", ".", ",", "?"]
WORDS += [f"w{number}" for number in range(200)] + "alpha beta gamma delta overflow the room is fine".split()
VOCABULARY = {word: number for number, word in enumerate(WORDS)}


def tokenizer():
    pad = {"id": PAD, "content": WORDS[PAD], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
           "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [pad], "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"},
    }


def graph():
    node = helper.make_node
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
              for name in ("input_ids", "attention_mask")]
    constants = [helper.make_tensor(name, TensorProto.INT64, shape, [value])
                 for name, shape, value in (("pad", [], PAD), ("zero", [], 0), ("one", [], 1), ("axis", [1], 1))]
    constants.append(helper.make_tensor("scale", TensorProto.FLOAT, [], [0.01]))
    nodes = [
        node("Shape", ["input_ids"], ["shape"]),
        node("Gather", ["shape", "one"], ["length"]),
        node("Range", ["zero", "length", "one"], ["position"]),
        node("Equal", ["input_ids", "pad"], ["is_pad"]),
        node("Not", ["is_pad"], ["is_token"]),
        node("Cast", ["is_token"], ["kept"], to=TensorProto.INT64),
        node("Mul", ["position", "kept"], ["kept_position"]),
        node("ArgMax", ["kept_position"], ["last_position"], axis=1, keepdims=1),
        node("GatherElements", ["input_ids", "last_position"], ["last"], axis=1),
        node("Cast", ["last"], ["last_float"], to=TensorProto.FLOAT),
        node("Mul", ["last_float", "scale"], ["score"]),
        # The mask is an input that the score does not depend on.
        node("ReduceSum", ["attention_mask", "axis"], ["tokens"], keepdims=1),
        node("Cast", ["tokens"], ["tokens_float"], to=TensorProto.FLOAT),
        node("Sub", ["tokens_float", "tokens_float"], ["nothing"]),
        node("Add", ["score", "nothing"], ["logits"]),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    made = helper.make_graph(nodes, "pad-pooled", inputs, [output], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="make_pad_pooled")
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    OUT.mkdir(exist_ok=True)
    onnx.save(graph(), OUT / "model.onnx")
    (OUT / "tokenizer.json").write_text(json.dumps(tokenizer(), indent=1) + "\n")
    digest = {name: hashlib.sha256((OUT / name).read_bytes()).hexdigest() for name in ("model.onnx", "tokenizer.json")}
    prefix = "".join(f'{role} = "{role} : "\n' for role in ("system", "user", "assistant", "tool"))
    (OUT / "guerdon.model.toml").write_text(f"""# Written by make_pad_pooled.py.
name = "pad-pooled"
[files]
model = "model.onnx"
model_sha256 = "{digest['model.onnx']}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{digest['tokenizer.json']}"
[input]
format = "plain"
max_tokens = 64
separator = " "
[input.prefix]
{prefix}[output]
name = "logits"
""")


main()
