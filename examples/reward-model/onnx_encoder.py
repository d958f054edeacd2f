"""Author the ONNX graph of `rm_model.RewardModel`: standard operators only, opset 21, no torch needed.

Inputs `input_ids`, `attention_mask`, `reply_mask`: int64 [batch, seq]; output `logits`: float [batch, 1].

What a text is pooled into is one matrix product for each text ([3, seq] x [seq, width]), and so is every step of the
heads: ReduceSum, and MatMul with a row for each text, take another route for one text than for a batch and differ in
the last bit. So does Log, by where in the batch a number stands: logarithms of lengths come from a table.
"""

import math

import numpy as np
from onnx import TensorProto, checker, helper

from onnx_graph import Graph

OPSET = 21
MASKED = -10000.0  # added to the attention scores of what a token must not see: exp() of it is exactly 0 in fp32


def scalars(g, config):
    width = config["width"] // config["heads"]
    for name, value in (("one", 1.0), ("half", 0.5), ("sqrt2", math.sqrt(2)), ("masked", MASKED),
                        ("sqrt_width", math.sqrt(width))):
        g.const(name, np.float32(value))
    for name, value in (("axis1", [1]), ("axis2", [2]), ("from0", [0]), ("from1", [1]), ("from2", [2]), ("to3", [3]),
                        ("split_heads", [0, 0, config["heads"], width]), ("join_heads", [0, 0, config["width"]]),
                        ("column", [0, -1, 1]), ("row", [0, 1, -1]), ("flat", [0, -1])):
        g.const(name, np.array(value, np.int64))
    g.const("along", np.int64(1))
    g.const("i0", np.int64(0))
    g.const("i1", np.int64(1))


def masks(g):
    """As `rm_model.parts`: "where" float [batch, 3, seq], the attention bias [batch, 1, seq, seq], the positions."""
    left = g.op("CumSum", ["attention_mask", "along"], "left", reverse=1)
    is_last = g.op("Cast", [g.op("Equal", [left, "i1"], "at_last")], "last_or_padding", to=TensorProto.INT64)
    last = g.op("Mul", [is_last, "attention_mask"], "last")
    begun = g.op("Add", [g.op("CumSum", ["reply_mask", "along"], "replied"), last], "begun")
    begun = g.op("Cast", [g.op("Greater", [begun, "i0"], "has_begun")], "begun01", to=TensorProto.INT64)
    tail = g.op("Mul", [begun, "attention_mask"], "tail")
    context = g.op("Sub", ["attention_mask", tail], "context")
    rows = [g.op("Unsqueeze", [x, "axis1"], f"{x}.row") for x in (context, tail, last)]
    where = g.to_float(g.op("Concat", rows, "where_int", axis=1), "where")
    context_row, tail_row = (g.op("Slice", [where, a, b, "axis1"], name) for a, b, name in (
        ("from0", "from1", "context_row"), ("from1", "from2", "tail_row")))
    tail_column = g.op("Transpose", [tail_row], "tail_column", perm=[0, 2, 1])
    sees = g.op("Add", [g.op("Mul", [tail_column, tail_row], "tail_sees_tail"), context_row], "sees")
    bias = g.op("Mul", [g.op("Sub", ["one", sees], "hidden"), "masked"], "bias3")
    bias = g.op("Unsqueeze", [bias, "axis1"], "attention_bias")
    seen = g.op("CumSum", ["attention_mask", "along"], "seen")
    return where, bias, g.op("Max", [g.op("Sub", [seen, "i1"], "place"), "i0"], "positions")


def layer(g, x, bias, state, i, eps, bits):
    key, name = f"encoder.layers.{i}.", f"layer{i}."

    def split(part, perm):
        y = g.op("Reshape", [g.linear(x, state, key + part, name + part, bits), "split_heads"], f"{name}{part}.split")
        return g.op("Transpose", [y], f"{name}{part}.heads", perm=perm)

    q, k, v = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
    scores = g.op("Div", [g.op("MatMul", [q, k], name + "qk"), "sqrt_width"], name + "scaled")
    probs = g.op("Softmax", [g.op("Add", [scores, bias], name + "biased")], name + "probs", axis=-1)
    mixed = g.op("Transpose", [g.op("MatMul", [probs, v], name + "mixes")], name + "mixed", perm=[0, 2, 1, 3])
    mixed = g.op("Reshape", [mixed, "join_heads"], name + "joined")
    y = g.linear(mixed, state, key + "mix", name + "mix", bits)
    x = g.norm(g.op("Add", [y, x], name + "sum1"), state, key + "norm1", name + "norm1", eps)
    y = g.gelu(g.linear(x, state, key + "up", name + "up", bits), name + "gelu")
    y = g.linear(y, state, key + "down", name + "down", bits)
    return g.norm(g.op("Add", [y, x], name + "sum2"), state, key + "norm2", name + "norm2", eps)


def heads(g, state, config, where, depths):
    sizes = g.op("Max", [g.op("ReduceSum", [where, "axis2"], "counts", keepdims=1), "one"], "sizes")
    counts = g.op("Cast", [sizes], "whole_sizes", to=TensorProto.INT64)
    table = g.const("log_table", np.log(np.maximum(np.arange(config["places"] + 1), 1)).astype(np.float32))
    logs = g.op("Gather", [table, counts], "logs")

    def pick(x, row, name):
        starts, ends = ("from0", "from1", "from2")[row], ("from1", "from2", "to3")[row]
        return g.op("Reshape", [g.op("Slice", [x, starts, ends, "axis1"], f"{name}.row"), "column"], name)

    pooled = {d: g.op("Div", [g.op("MatMul", [where, depths[d]], f"sums{d}"), sizes], f"pooled{d}")
              for d in sorted({*config["means"], *config["ends"], config["gate_depth"]})}
    log = pick(logs, 1, "log_reply")
    length = [log, g.op("Mul", [log, log], "log_reply_squared")]
    middle = pooled[config["gate_depth"]]
    read = {"head": [pick(pooled[d], 1, f"mean{d}") for d in config["means"]]
                    + [pick(pooled[d], 2, f"end{d}") for d in config["ends"]] + length,
            "gate": [pick(middle, 0, "gate.context"), pick(middle, 1, "gate.reply"), pick(logs, 0, "log_context"), *length]}

    def unit(name):
        features = g.op("Concat", read[name], f"{name}.features", axis=1)
        y = g.op("MatMul", [g.const(f"{name}.weight", state[f"{name}.weight"]), features], f"{name}.product")
        return g.op("Add", [y, g.const(f"{name}.bias", state[f"{name}.bias"][:, None])], f"{name}.units")

    gate = g.op("Softmax", [g.op("Reshape", [unit("gate"), "row"], "gate.row")], "gate", axis=-1)
    first = g.op("Add", [g.op("Mul", [g.op("Slice", [gate, "from0", "from1", "axis2"], "gate0"), g.const("zero", np.float32(0))],
                              "nought"), "one"], "always")
    mix = g.op("Concat", [first, gate], "mix", axis=2)
    g.op("Reshape", [g.op("MatMul", [mix, unit("head")], "score"), "flat"], "logits")


def build(state, config, bits):
    """state: name -> fp32 array (RewardModel.state_dict()); bits: {"words": 4 | 8 | 32, "layers": [one a layer]}"""
    g = Graph()
    scalars(g, config)
    where, bias, positions = masks(g)
    words = g.weight("words", state["encoder.words.weight"], bits["words"])
    places = g.weight("places", state["encoder.places.weight"], min(8, bits["words"]) if bits["words"] < 32 else 32)
    x = g.op("Add", [g.op("Gather", [words, "input_ids"], "word_rows"), g.op("Gather", [places, positions], "place_rows")],
             "embedded")
    depths = [g.norm(x, state, "encoder.norm", "embeddings", config["norm_eps"])]
    for i in range(config["layers"]):
        depths.append(layer(g, depths[-1], bias, state, i, config["norm_eps"], bits["layers"][i]))
    heads(g, state, config, where, depths)
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "seq"])
              for n in ("input_ids", "attention_mask", "reply_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(g.nodes, "reward_model", inputs, [output], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10,
                              producer_name="guerdon examples/reward-model")
    checker.check_model(model)
    return model
