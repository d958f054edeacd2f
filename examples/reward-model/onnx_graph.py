"""A thin layer over onnx.helper: nodes and constants with readable names, and weights stored in 4, 8
or 32 bits.

Stored weights are symmetric integers with one scale for every block of inputs of an output channel (of
a row of an embedding). Standard operators on constants (Cast, Mul, Reshape) convert them to fp32, which
a runtime folds once at load. All arithmetic is fp32, so a score cannot depend on its batch, as it does
with dynamic int8.

- 8 bits: block of 64, fp32 scale = largest / 127.
- 4 bits: block of 32, fp16 scale = largest (with its sign) / -8, codes -8..7 (Q4_0 of ggml). Weights
  that came from such blocks are stored in the same blocks without a further loss."""

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper


def blocks8(weight):
    """float32 [rows, columns] -> (int8 [rows, blocks, 64], fp32 scales [rows, blocks, 1])"""
    parts = weight.reshape(weight.shape[0], -1, 64)
    scale = np.abs(parts).max(2, keepdims=True).astype(np.float32) / 127
    scale[scale == 0] = 1
    return np.clip(np.rint(parts / scale), -127, 127).astype(np.int8), scale


def blocks4(weight):
    """float32 [rows, columns] -> (int4 [rows, blocks, 32], fp16 scales [rows, blocks, 1])"""
    parts = weight.reshape(weight.shape[0], -1, 32)
    largest = np.take_along_axis(parts, np.abs(parts).argmax(2)[..., None], 2)
    scale = (largest / -8).astype(np.float16)
    divisor = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.clip(np.rint(parts / divisor), -8, 7).astype(ml_dtypes.int4), scale


def read_blocks(codes, scales):
    """Converts the result of `blocks8` or `blocks4` to float32 [rows, columns]."""
    return (codes.astype(np.float32) * scales.astype(np.float32)).reshape(codes.shape[0], -1)


class Graph:
    def __init__(self):
        self.nodes, self.constants = [], []

    def const(self, name, value):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def used_constants(self):
        """Removes unused scalars, since a layout does not use all of them and a runtime warns."""
        used = {name for node in self.nodes for name in node.input}
        return [constant for constant in self.constants if constant.name in used]

    def op(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def to_float(self, x, name):
        return self.op("Cast", [x], name, to=TensorProto.FLOAT)

    def weight(self, name, value, bits):
        """A matrix as torch keeps it, [out, in], or an embedding [rows, width]."""
        if bits == 32:
            return self.const(name, value)
        codes, scales = {8: blocks8, 4: blocks4}[bits](value)
        codes = self.to_float(self.const(f"{name}.int{bits}", codes), f"{name}.codes")
        scales = self.const(f"{name}.scale", scales)
        if bits == 4:
            scales = self.to_float(scales, f"{name}.scales")
        blocks = self.op("Mul", [codes, scales], f"{name}.blocks")
        return self.op("Reshape", [blocks, self.const(f"{name}.shape", np.array(value.shape, np.int64))], name)

    def linear(self, x, state, key, name, bits):
        rows = self.weight(f"{name}.rows", state[f"{key}.weight"], bits)
        y = self.op("MatMul", [x, self.op("Transpose", [rows], f"{name}.weight", perm=[1, 0])], f"{name}.product")
        return self.op("Add", [y, self.const(f"{name}.bias", state[f"{key}.bias"])], name)

    def norm(self, x, state, key, name, eps):
        gain, bias = (self.const(f"{name}.{p}", state[f"{key}.{p}"]) for p in ("weight", "bias"))
        return self.op("LayerNormalization", [x, gain, bias], name, axis=-1, epsilon=eps)

    def gelu(self, x, name):
        half = self.op("Div", [x, "sqrt2"], f"{name}.div")
        erf = self.op("Add", [self.op("Erf", [half], f"{name}.erf"), "one"], f"{name}.add")
        return self.op("Mul", [self.op("Mul", [x, erf], f"{name}.mul"), "half"], name)
