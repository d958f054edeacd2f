"""Compute an exported graph's large matrix products in 8 bits, with a scale for each token.

`export_hf.py --precision int8` and `guerdon rm init --precision int8` use it. The manifest states the
difference to the framework's scores in reference.jsonl, and guerdon refuses the model where it differs by
more. It is an option because it is not exact: compare the error with what you need.

Each row of activations (a token) gets a scale and an offset of its own, from its smallest and largest
value, so that its integers do not depend on other tokens or texts. The products of integers are exact.
A score therefore has the same bits in any batch, as with fp32. Only standard operators are used.

Weights have 7 bits and one scale per column: pairs of products of 8-bit activations with them fit into
16 bits, which processors without VNNI instructions add in, so every processor computes the same sums.
Activations have a few columns that are far larger than the others. Part of their size is moved into
the weights (SmoothQuant, arXiv 2211.10438, equation 4), measured on the given texts."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper

import framework
import graph_scores

LARGE = 4096  # fewer weights than this are not worth the nodes
WEIGHT_LIMIT = 64
LIMIT = 0.5  # largest accepted difference, in standard deviations of the reference scores
SMOOTHING = 0.8  # share of a column's size that moves into the weights


def products(graph, keep):
    """[(node, name of its weight, weight [inputs, outputs])] of the products of activations with large constant matrices"""
    constants = {c.name: c for c in graph.initializer}
    flipped = {n.output[0]: n.input[0] for n in graph.node
               if n.op_type == "Transpose" and n.input[0] in constants and len(constants[n.input[0]].dims) == 2}
    found = []
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm") or len(node.input) < 2 or node.input[0] in constants:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            continue
        name = flipped.get(node.input[1], node.input[1])
        constant = constants.get(name)
        if constant is None or keep(name) or constant.data_type != TensorProto.FLOAT:
            continue
        if len(constant.dims) != 2 or np.prod(constant.dims) < LARGE:
            continue
        weight = numpy_helper.to_array(constant)
        if bool(attributes.get("transB")) != (node.input[1] in flipped):
            weight = weight.T
        found.append((node, name, np.ascontiguousarray(weight)))
    return found


def column_sizes(model, names, feeds):
    """{activation: largest absolute value of each column} over `feeds`, a list of inputs of the graph"""
    watched = ModelProto()
    watched.CopyFrom(model)
    known = {o.name for o in watched.graph.output}
    watched.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names if n not in known)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    sizes = {}
    for inputs in feeds:
        values = session.run(names, graph_scores.feed(session, inputs))
        for name, value in zip(names, values):
            size = np.abs(value).reshape(-1, value.shape[-1]).max(0)
            sizes[name] = np.maximum(sizes.get(name, 0), size)
    return sizes


def smoothing(size, weights):
    """The factor by which each column of an activation is divided, and each row of its weights multiplied"""
    rows = np.max([np.abs(w).max(1) for w in weights], axis=0)
    factor = np.maximum(size, 1e-3) ** SMOOTHING / np.maximum(rows, 1e-5) ** (1 - SMOOTHING)
    return (factor / np.exp(np.log(factor).mean())).astype(np.float32)


class Writer:
    """Collects constants and nodes in place of those that are removed."""

    def __init__(self, opset):
        self.opset, self.constants, self.nodes = opset, {}, []

    def const(self, name, value):
        self.constants.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def over_columns(self, kind, x, output):
        """ReduceMin or ReduceMax of each row; since opset 18 the axis is an input."""
        if self.opset < 18:
            return self.op(kind, [x], output, axes=[-1], keepdims=1)
        return self.op(kind, [x, self.const("int8.axis", np.array([-1], np.int64))], output, keepdims=1)

    def op(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def quantised_rows(w, x, factor):
    """Integers of `x`, and the scale and the offset of each row: x / factor = integers * scale + offset"""
    p = f"{x}.int8"
    y = w.op("Mul", [x, w.const(f"{p}.factor", 1 / factor)], f"{p}.smooth")
    low, high = w.over_columns("ReduceMin", y, f"{p}.low"), w.over_columns("ReduceMax", y, f"{p}.high")
    # A row of equal values has no range; any positive scale then gives integers of 0.
    spread = w.op("Max", [w.op("Sub", [high, low], f"{p}.spread"), w.const("int8.least", np.float32(1e-12))], f"{p}.range")
    scale = w.op("Mul", [spread, w.const("int8.step", np.float32(1 / 255))], f"{p}.scale")
    steps = w.op("Div", [w.op("Sub", [y, low], f"{p}.above"), scale], f"{p}.steps")
    one, zero = w.const("int8.one", np.float32(1)), w.const("int8.zero", np.uint8(0))
    return w.op("QuantizeLinear", [steps, one, zero], f"{p}.codes"), scale, low


def product(w, node, name, weight, rows):
    """Nodes for `node`: integers times integers, scaled, with the offsets of the rows and the bias"""
    codes, scale, low = rows
    out = node.output[0]
    size = np.abs(weight).max(0) / WEIGHT_LIMIT
    size[size == 0] = 1
    whole = np.clip(np.rint(weight / size), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    p = f"{name}.{out}"
    integers = w.const(f"{p}.codes", whole.astype(np.int8))
    sums = w.op("Cast", [w.op("MatMulInteger", [codes, integers], f"{out}.sums")], f"{out}.whole", to=TensorProto.FLOAT)
    step = w.op("Mul", [scale, w.const(f"{p}.scale", size.astype(np.float32))], f"{out}.step")
    shift = w.op("Mul", [low, w.const(f"{p}.total", (whole * size).sum(0).astype(np.float32))], f"{out}.shift")
    biased = node.op_type == "Gemm" and len(node.input) > 2
    y = w.op("Add", [w.op("Mul", [sums, step], f"{out}.scaled"), shift], f"{out}.unbiased" if biased else out)
    if biased:
        w.op("Add", [y, node.input[2]], out)


def quantise(model, feeds, keep=lambda name: False):
    """Rewrite the large products of `model`. feeds: inputs of the graph for a few typical texts. Returns their number."""
    graph = model.graph
    found = products(graph, keep)
    if not found:
        raise SystemExit("the graph has no product of activations with a large float32 matrix; keep it in fp32")
    weights = {}
    for node, _, weight in found:
        weights.setdefault(node.input[0], []).append(weight)
    sizes = column_sizes(model, list(weights), feeds)
    factors = {x: smoothing(sizes[x], weights[x]) for x in weights}
    chosen = {node.output[0]: (name, weight) for node, name, weight in found}
    w, rows = Writer(next(o.version for o in model.opset_import if not o.domain)), {}
    for node in graph.node:
        if node.output[0] not in chosen or node.op_type not in ("MatMul", "Gemm"):
            w.nodes.append(node)
            continue
        x, (name, weight) = node.input[0], chosen[node.output[0]]
        if x not in rows:
            rows[x] = quantised_rows(w, x, factors[x])
        product(w, node, name, weight * factors[x][:, None], rows[x])
    nodes = w.nodes
    outputs = {o.name for o in graph.output}
    used = {name for node in nodes for name in node.input}
    # Transposes of weights that no node reads any more.
    nodes = [n for n in nodes if n.op_type != "Transpose" or n.output[0] in used or n.output[0] in outputs]
    used = {name for node in nodes for name in node.input} | outputs
    constants = [c for c in [*graph.initializer, *w.constants.values()] if c.name in used]
    # Clearing the lists frees the elements that they own.
    kept = [type(n).FromString(n.SerializeToString()) for n in nodes]
    constants = [type(c).FromString(c.SerializeToString()) for c in constants]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)
    return len(found)


class Quantised:
    """A graph in 8 bits, and its difference from the reference scores in standard deviations."""

    def __init__(self, model, rows, output=None, pad=0, first_position=0):
        """model: in fp32, rewritten in place. rows: with ids and score. output: the keys of [output] in the manifest."""
        output = output or {}
        packed = any(i.name == "token_ids" for i in model.graph.input)
        texts = [row["ids"] for row in rows]
        feeds = [graph_scores.one_text(ids) if packed else graph_scores.batch_of([ids], pad, False, first_position) for ids in texts[::2]]
        self.products = quantise(model, feeds, keep=lambda name: "score" in name or "classifier" in name)
        self.model = model
        expected = np.array([row["score"] for row in rows])
        found = graph_scores.scores(graph_scores.session(model.SerializeToString()), texts, pad, output=output.get("name", "logits"),
                                    first_position=first_position)
        apart = np.abs(np.array([framework.combined(labels, output) for labels in found]) - expected) / max(float(expected.std()), 1e-3)
        self.error, self.rms = float(apart.max()), float(np.sqrt(np.mean(apart**2)))

    def check(self, limit):
        if not self.error <= limit:
            sys.exit(f"FAILED: in 8 bits a text scores {self.error:.3f} standard deviations away from the reference, more than {limit}; keep the "
                     "model in fp32")


def usable(rows, source):
    """The rows with ids and a score. Exits if there are too few."""
    rows = [row for row in rows if row.get("ids") and row.get("score") is not None]
    if len(rows) < 16:
        sys.exit(f"{source} has {len(rows)} rows with token ids and scores, fewer than 16; the error of 8 bits cannot be stated")
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--graph", required=True, type=Path, help="the graph in fp32")
    p.add_argument("--reference", required=True, type=Path, help="reference.jsonl with token ids and scores")
    p.add_argument("--settings", required=True, type=Path, help="JSON: `output`, the keys of [output], and perhaps `pad` and `first_position`")
    p.add_argument("--to", required=True, type=Path, help="the graph in 8 bits")
    p.add_argument("--limit", type=float, default=LIMIT, help="largest accepted difference, in standard deviations of the reference scores")
    args = p.parse_args()
    settings = json.loads(args.settings.read_text(encoding="utf-8"))
    rows = usable([json.loads(line) for line in args.reference.open(encoding="utf-8")], args.reference)
    made = Quantised(onnx.load(args.graph), rows, settings.get("output"), settings.get("pad") or 0, settings.get("first_position") or 0)
    made.check(args.limit)
    onnx.save(made.model, args.to)
    print(json.dumps({"products": made.products, "error": made.error, "rms": made.rms}))


if __name__ == "__main__":
    main()
