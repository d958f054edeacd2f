"""Write the ONNX graph of `rm_model.RewardModel`: opset 21, without torch.

There are two layouts of the same arithmetic; output `logits`: float [batch, 1].

- **padded**: one row per text, standard operators only. Inputs `input_ids`, `attention_mask`,
  `reply_mask`: int64 [batch, seq].
- **packed**: every distinct token once. Texts with the same context share its nodes, since the
  context does not attend to the reply. The inputs are int64 and built by
  `crates/guerdon-model/src/engine/packed.rs`: `token_ids`, `position_ids` [nodes]; `gather_idx`
  [batch, seq]: the nodes of each text; `scatter_idx` [nodes]: a place of each node in the flattened
  `gather_idx`; `lengths`, `context_lens` [batch]. Attention is ONNX Runtime's `MultiHeadAttention`,
  which computes the three steps of a head while they are in the processor's cache.

Pooling is one matrix product per text ([3, seq] x [seq, width]), and so is every step of the heads.
ReduceSum, and MatMul with one row per text, use another kernel for one text than for a batch and differ
in the last bit. Log differs by position in the batch, so logarithms of lengths come from a table."""

import json
import math

import numpy as np
from onnx import TensorProto, checker, helper

from onnx_graph import Graph

OPSET = 21
MICROSOFT = "com.microsoft"
MASKED = -10000.0  # added to masked attention scores: exp() of it is exactly 0 in fp32


def scalars(g, config):
    width = config["width"] // config["heads"]
    for name, value in (("one", 1.0), ("half", 0.5), ("sqrt2", math.sqrt(2)), ("masked", MASKED),
                        ("sqrt_width", math.sqrt(width))):
        g.const(name, np.float32(value))
    for name, value in (("axis1", [1]), ("axis2", [2]), ("from0", [0]), ("from1", [1]), ("from2", [2]), ("to3", [3]),
                        ("split_heads", [0, 0, config["heads"], width]), ("join_heads", [0, 0, config["width"]]),
                        ("column", [0, -1, 1]), ("row", [0, 1, -1]), ("flat", [0, -1]), ("list", [-1, config["width"]])):
        g.const(name, np.array(value, np.int64))
    g.const("along", np.int64(1))
    g.const("i0", np.int64(0))
    g.const("i1", np.int64(1))


def where_of(g, context, tail, last):
    """three masks [batch, seq] -> float [batch, 3, seq], as `rm_model.parts`"""
    rows = [g.op("Unsqueeze", [x, "axis1"], f"{x}.row") for x in (context, tail, last)]
    return g.to_float(g.op("Concat", rows, "where_masks", axis=1), "where")


def bias_of(g, where):
    """Attention bias, float [batch, 1, seq, seq]: 0 where a token (third axis) attends to another, else MASKED."""
    context_row, tail_row = (g.op("Slice", [where, a, b, "axis1"], name) for a, b, name in (
        ("from0", "from1", "context_row"), ("from1", "from2", "tail_row")))
    tail_column = g.op("Transpose", [tail_row], "tail_column", perm=[0, 2, 1])
    sees = g.op("Add", [g.op("Mul", [tail_column, tail_row], "tail_sees_tail"), context_row], "sees")
    bias = g.op("Mul", [g.op("Sub", ["one", sees], "hidden"), "masked"], "bias3")
    return g.op("Unsqueeze", [bias, "axis1"], "attention_bias")


def attention(g, name, q, k, v, bias):
    """Rows of queries [batch, m, width] and of keys and values [batch, n, width] -> [batch, m, width]"""
    def split(x, perm):
        return g.op("Transpose", [g.op("Reshape", [x, "split_heads"], f"{x}.split")], f"{x}.heads", perm=perm)

    scores = g.op("MatMul", [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])], name + "qk")
    scores = g.op("Add", [g.op("Div", [scores, "sqrt_width"], name + "scaled"), bias], name + "biased")
    probs = g.op("Softmax", [scores], name + "probs", axis=-1)
    mixed = g.op("MatMul", [probs, split(v, [0, 2, 1, 3])], name + "mixes")
    return g.op("Reshape", [g.op("Transpose", [mixed], name + "mixed", perm=[0, 2, 1, 3]), "join_heads"], name + "joined")


class Padded:
    """One row per text: a layer computes [batch, seq, width]."""

    inputs = {"input_ids": ["batch", "seq"], "attention_mask": ["batch", "seq"], "reply_mask": ["batch", "seq"]}
    ids = "input_ids"
    domains = {}

    def __init__(self, g, heads):
        left = g.op("CumSum", ["attention_mask", "along"], "left", reverse=1)
        is_last = g.op("Cast", [g.op("Equal", [left, "i1"], "at_last")], "last_or_padding", to=TensorProto.INT64)
        last = g.op("Mul", [is_last, "attention_mask"], "last")
        begun = g.op("Add", [g.op("CumSum", ["reply_mask", "along"], "replied"), last], "begun")
        begun = g.op("Cast", [g.op("Greater", [begun, "i0"], "has_begun")], "begun01", to=TensorProto.INT64)
        tail = g.op("Mul", [begun, "attention_mask"], "tail")
        self.where = where_of(g, g.op("Sub", ["attention_mask", tail], "context"), tail, last)
        self.bias = bias_of(g, self.where)
        seen = g.op("CumSum", ["attention_mask", "along"], "seen")
        self.positions = g.op("Max", [g.op("Sub", [seen, "i1"], "place"), "i0"], "positions")

    def attend(self, g, name, q, k, v):
        return attention(g, name, q, k, v, self.bias)

    def rows(self, g, x):
        return x


class Packed:
    """Every distinct token once: a layer computes [nodes, width]; only attention and pooling use rows."""

    inputs = {"token_ids": ["nodes"], "position_ids": ["nodes"], "gather_idx": ["batch", "seq"], "scatter_idx": ["nodes"],
              "lengths": ["batch"], "context_lens": ["batch"]}
    ids, positions = "token_ids", "position_ids"
    domains = {MICROSOFT: 1}

    def __init__(self, g, heads):
        self.heads = heads
        seq = g.op("Gather", [g.op("Shape", ["gather_idx"], "shape"), "i1"], "seq")
        place = g.op("Range", ["i0", seq, "i1"], "place")
        length, begins = (g.op("Unsqueeze", [x, "axis1"], f"{x}.column") for x in ("lengths", "context_lens"))
        context = g.op("Less", [place, begins], "context")
        tail = g.op("And", [g.op("Less", [place, length], "filled"), g.op("Not", [context], "not_context")], "tail")
        last = g.op("Equal", [place, g.op("Sub", [length, "i1"], "end")], "last")
        self.where = where_of(g, context, tail, last)
        self.bias = bias_of(g, self.where)

    def attend(self, g, name, q, k, v):
        rows = [self.rows(g, x) for x in (q, k, v)]
        y = g.op("MultiHeadAttention", [*rows, "", "", self.bias], name + "joined", domain=MICROSOFT, num_heads=self.heads)
        return g.op("Gather", [g.op("Reshape", [y, "list"], name + "list"), "scatter_idx"], name + "nodes")

    def rows(self, g, x):
        return g.op("Gather", [x, "gather_idx"], f"{x}.gathered")


LAYOUTS = {"padded": Padded, "packed": Packed}


def layer(g, x, layout, state, i, eps, bits):
    key, name = f"encoder.layers.{i}.", f"layer{i}."
    q, k, v = (g.linear(x, state, key + part, name + part, bits) for part in ("query", "key", "value"))
    y = g.linear(layout.attend(g, name, q, k, v), state, key + "mix", name + "mix", bits)
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


def build(state, config, bits, layout="packed"):
    """state: name -> fp32 array (RewardModel.state_dict()); bits: {"words": 4 | 8 | 32, "layers": [one per layer]}"""
    g = Graph()
    scalars(g, config)
    layout = LAYOUTS[layout](g, config["heads"])
    words = g.weight("words", state["encoder.words.weight"], bits["words"])
    places = g.weight("places", state["encoder.places.weight"], min(8, bits["words"]) if bits["words"] < 32 else 32)
    x = g.op("Add", [g.op("Gather", [words, layout.ids], "word_rows"), g.op("Gather", [places, layout.positions], "place_rows")],
             "embedded")
    depths = [g.norm(x, state, "encoder.norm", "embeddings", config["norm_eps"])]
    for i in range(config["layers"]):
        depths.append(layer(g, depths[-1], layout, state, i, config["norm_eps"], bits["layers"][i]))
    read = sorted({*config["means"], *config["ends"], config["gate_depth"]})
    heads(g, state, config, layout.where, {d: layout.rows(g, depths[d]) for d in read})
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in layout.inputs.items()]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(g.nodes, "reward_model", inputs, [output], g.used_constants())
    opsets = [helper.make_opsetid(domain, version) for domain, version in {"": OPSET, **layout.domains}.items()]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10,
                              producer_name="guerdon examples/reward-model")
    helper.set_model_props(model, {"config": json.dumps(config), "bits": json.dumps(bits)})
    checker.check_model(model)
    return model
