"""Author the ONNX graph of `rm_model.RewardModel` directly: plain ONNX ops, opset 17, no torch needed.

Weights are either fp32, or int8-STORED: symmetric int8 with one fp32 scale for every BLOCK inputs of an output
channel (of a row of an embedding), turned back into fp32 by Cast, Mul and Reshape on constants, which a runtime
folds once at load. All arithmetic is fp32, so a score cannot depend on which texts share its batch (dynamic int8
arithmetic can).
"""

import math

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET = 17
BLOCK = 64  # one scale per 64 weights: 6% more file, half the error of one scale per channel
MASKED = -10000.0  # added to the attention scores of padding: exp() of it is exactly 0 in fp32


def quantise(weight, axis):
    """Symmetric int8 in blocks of BLOCK along `axis`: -> (int8 blocks, fp32 scales) that broadcast against each other."""
    shape = list(weight.shape)
    shape[axis:axis + 1] = [shape[axis] // BLOCK, BLOCK]
    blocks = weight.reshape(shape)
    scale = np.abs(blocks).max(axis=axis + 1, keepdims=True).astype(np.float32) / 127.0
    scale[scale == 0] = 1.0
    return np.clip(np.rint(blocks / scale), -127, 127).astype(np.int8), scale


class Graph:
    """A thin layer over onnx.helper: nodes and constants with readable names."""

    def __init__(self, int8):
        self.int8, self.nodes, self.constants = int8, [], []

    def const(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def op(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name, value, axis):
        """A matrix; when the graph is int8-stored, as int8 blocks along `axis` with a scale each."""
        if not self.int8:
            return self.const(name, value)
        q, scale = quantise(value, axis)
        cast = self.op("Cast", [self.const(f"{name}.int8", q)], f"{name}.cast", to=TensorProto.FLOAT)
        blocks = self.op("Mul", [cast, self.const(f"{name}.scale", scale)], f"{name}.blocks")
        return self.op("Reshape", [blocks, self.const(f"{name}.shape", np.array(value.shape, np.int64))], name)

    def linear(self, x, state, key, name):
        """torch's Linear: the stored weight is [out, in], ours [in, out]."""
        w = self.weight(f"{name}.weight", np.ascontiguousarray(state[f"{key}.weight"].T), axis=0)
        y = self.op("MatMul", [x, w], f"{name}.matmul")
        return self.op("Add", [y, self.const(f"{name}.bias", state[f"{key}.bias"])], name)

    def norm(self, x, state, key, name, eps):
        gain, bias = (self.const(f"{name}.{p}", state[f"{key}.{p}"]) for p in ("weight", "bias"))
        return self.op("LayerNormalization", [x, gain, bias], name, axis=-1, epsilon=eps)

    def gelu(self, x, name):
        half = self.op("Div", [x, "sqrt2"], f"{name}.div")
        erf = self.op("Add", [self.op("Erf", [half], f"{name}.erf"), "one"], f"{name}.add")
        return self.op("Mul", [self.op("Mul", [x, erf], f"{name}.mul"), "half"], name)


def build(state, config, int8):
    """state: name -> fp32 array (names of RewardModel.state_dict()), config: dict -> onnx ModelProto"""
    g = Graph(int8)
    hidden, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    width = hidden // heads
    for name, value in (("one", 1.0), ("half", 0.5), ("sqrt2", math.sqrt(2)), ("masked", MASKED),
                        ("sqrt_width", math.sqrt(width))):
        g.const(name, np.float32(value))
    for name, value in (("axis1", [1]), ("axes12", [1, 2]), ("axis2", [2]), ("zero", [0]), ("two", [2]), ("ends", [2 ** 31 - 1]),
                        ("flat", [0, 2 * hidden]),
                        ("split_heads", [0, 0, heads, width]), ("join_heads", [0, 0, hidden])):
        g.const(name, np.array(value, np.int64))

    # Embeddings: words, positions 0..seq, and the one token type there is (folded into the positions).
    emb = "bert.embeddings."
    words = g.weight("words", state[emb + "word_embeddings.weight"], axis=1)
    places = state[emb + "position_embeddings.weight"] + state[emb + "token_type_embeddings.weight"][:1]
    places = g.weight("positions", places, axis=1)
    seq = g.op("Slice", [g.op("Shape", ["input_ids"], "shape"), "axis1", "two"], "seq")
    x = g.op("Add", [g.op("Gather", [words, "input_ids"], "word_rows"),
                     g.op("Slice", [places, "zero", seq, "zero"], "position_rows")], "embedded")
    x = g.norm(x, state, emb + "LayerNorm", "embeddings.norm", eps)

    # Attention bias [batch, 1, 1, seq]: 0 for a token, MASKED for padding.
    mask = g.op("Cast", [g.op("Unsqueeze", ["attention_mask", "axes12"], "mask4")], "mask_float",
                to=TensorProto.FLOAT)
    bias = g.op("Mul", [g.op("Sub", ["one", mask], "padding"), "masked"], "attention_bias")

    for i in range(config["num_hidden_layers"]):
        key, name = f"bert.encoder.layer.{i}.", f"layer{i}."

        def split(part, perm):
            y = g.linear(x, state, f"{key}attention.self.{part}", name + part)
            y = g.op("Reshape", [y, "split_heads"], f"{name}{part}.split")
            return g.op("Transpose", [y], f"{name}{part}.heads", perm=perm)

        q, k, v = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
        scores = g.op("Div", [g.op("MatMul", [q, k], name + "qk"), "sqrt_width"], name + "scaled")
        probs = g.op("Softmax", [g.op("Add", [scores, bias], name + "biased")], name + "probs", axis=-1)
        mixed = g.op("Transpose", [g.op("MatMul", [probs, v], name + "mix")], name + "mixed", perm=[0, 2, 1, 3])
        mixed = g.op("Reshape", [mixed, "join_heads"], name + "joined")
        y = g.linear(mixed, state, key + "attention.output.dense", name + "attention")
        x = g.norm(g.op("Add", [y, x], name + "sum1"), state, key + "attention.output.LayerNorm", name + "norm1", eps)
        y = g.gelu(g.linear(x, state, key + "intermediate.dense", name + "up"), name + "gelu")
        y = g.linear(y, state, key + "output.dense", name + "down")
        x = g.norm(g.op("Add", [y, x], name + "sum2"), state, key + "output.LayerNorm", name + "norm2", eps)

    # Which tokens belong to the scored reply: those after the last "assistant :" (see rm_model.py).
    first, second = config["reply_marker"]
    after = g.op("Concat", [g.op("Slice", ["input_ids", "axis1", "ends", "axis1"], "ids_from_1"),
                            g.op("Slice", ["input_ids", "zero", "axis1", "axis1"], "ids_at_0")], "next_ids", axis=1)
    pair = g.op("And", [g.op("Equal", ["input_ids", g.const("marker0", np.int64(first))], "is_marker0"),
                        g.op("Equal", [after, g.const("marker1", np.int64(second))], "is_marker1")], "is_marker")
    limit = config["max_position_embeddings"]
    count = g.op("Slice", [g.const("counts", np.arange(1, limit + 1, dtype=np.float32)), "zero", seq, "zero"], "count")
    marks = g.op("Mul", [g.op("Cast", [pair], "marker_float", to=TensorProto.FLOAT), count], "marker_counts")
    start = g.op("Add", [g.op("ReduceMax", [marks], "last_marker", axes=[1], keepdims=1), "one"], "start")
    later = g.op("Cast", [g.op("Greater", [count, start], "after_marker")], "after_float", to=TensorProto.FLOAT)

    # Mean over the dialogue and over the reply, then the head (kept fp32). Both sums are one product,
    # [2, seq] x [seq, hidden] per text, and not ReduceSum, which takes another route for one text than for a
    # batch and differs in the last bit: so a score is the same alone, padded and in any batch.
    whole = g.op("Cast", ["attention_mask"], "whole", to=TensorProto.FLOAT)
    masks = g.op("Concat", [g.op("Unsqueeze", [whole, "axis1"], "whole3"),
                            g.op("Unsqueeze", [g.op("Mul", [whole, later], "reply"), "axis1"], "reply3")],
                 "masks", axis=1)
    sizes = g.op("ReduceSum", [masks, "axis2"], "sizes", keepdims=1)
    pooled = g.op("Div", [g.op("MatMul", [masks, x], "sums"), sizes], "pooled2")
    pooled = g.op("Reshape", [pooled, "flat"], "pooled")
    y = g.op("MatMul", [pooled, g.const("head.weight", np.ascontiguousarray(state["head.weight"].T))], "head")
    g.op("Add", [y, g.const("head.bias", state["head.bias"])], "logits")

    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "seq"]) for n in ("input_ids", "attention_mask")]
    out = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])]
    graph = helper.make_graph(g.nodes, "reward_model", ids, out, g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8,
                              producer_name="guerdon examples/reward-model")
    checker.check_model(model)
    return model
