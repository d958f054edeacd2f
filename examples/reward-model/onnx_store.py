"""Store an exported graph's weights in fewer bits: standard operators on constants convert them to
fp32 at load.

Arithmetic does not change, so a score still cannot depend on its batch. The head, norms and biases keep
their bits."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

LARGE = 4096  # fewer weights than this are not worth a node


def block8(weight, axis):
    """float32 -> (int8, fp32 scale for each block of up to 64 along `axis`), shaped to broadcast against each other"""
    length = weight.shape[axis]
    block = next(b for b in (64, 32, 16, 8, 4, 2, 1) if length % b == 0)
    shape = [*weight.shape[:axis], length // block, block, *weight.shape[axis + 1:]]
    parts = weight.reshape(shape)
    scale = (np.abs(parts).max(axis + 1, keepdims=True) / 127).astype(np.float32)
    scale[scale == 0] = 1
    return np.clip(np.rint(parts / scale), -127, 127).astype(np.int8), scale


def stored_names(graph, keep):
    """{initializer: axis of its blocks} for inputs of MatMul, Gemm and Gather, without the names that `keep` accepts"""
    axes = {}
    for node in graph.node:
        inputs = list(node.input)
        if node.op_type == "MatMul" and len(inputs) > 1:
            axes[inputs[1]] = 0
        elif node.op_type == "Gemm":
            flipped = any(a.name == "transB" and a.i for a in node.attribute)
            axes[inputs[1]] = 1 if flipped else 0
        elif node.op_type == "Gather":
            axes[inputs[0]] = 1
        elif node.op_type == "Transpose":
            axes.setdefault(inputs[0], 1)
    return {name: axis for name, axis in axes.items() if not keep(name)}


def store(model, storage, keep=lambda name: False):
    """Rewrite the large float32 matrices of `model` as "int8" blocks or as "fp16"."""
    graph = model.graph
    axes, kept, nodes = stored_names(graph, keep), [], []
    for constant in graph.initializer:
        small = len(constant.dims) != 2 or np.prod(constant.dims) < LARGE
        if constant.data_type != TensorProto.FLOAT or constant.name not in axes or small:
            kept.append(constant)
            continue
        name, value = constant.name, numpy_helper.to_array(constant)
        if storage == "fp16":
            if np.abs(value).max() > np.finfo(np.float16).max:
                raise SystemExit(f"{name} holds values beyond fp16's range; use --storage fp32 or int8")
            kept.append(numpy_helper.from_array(value.astype(np.float16), f"{name}.fp16"))
            nodes.append(helper.make_node("Cast", [f"{name}.fp16"], [name], to=TensorProto.FLOAT))
            continue
        codes, scale = block8(value, axes[name])
        kept += [numpy_helper.from_array(codes, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale"),
                 numpy_helper.from_array(np.array(value.shape, np.int64), f"{name}.shape")]
        nodes += [helper.make_node("Cast", [f"{name}.int8"], [f"{name}.codes"], to=TensorProto.FLOAT),
                  helper.make_node("Mul", [f"{name}.codes", f"{name}.scale"], [f"{name}.blocks"]),
                  helper.make_node("Reshape", [f"{name}.blocks", f"{name}.shape"], [name])]
    rest = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes + rest)
    return model
