"""The ONNX side of packed_decoder.py: collects nodes and weights, and writes them as one model."""

import os

import ml_dtypes
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
TYPES = {"float32": (np.float32, TensorProto.FLOAT), "float16": (np.float16, TensorProto.FLOAT16),
         "bfloat16": (ml_dtypes.bfloat16, TensorProto.BFLOAT16)}


class Graph:
    """The nodes and weights of a graph, in order."""

    def __init__(self, dtype):
        self.numpy, self.type = TYPES[dtype]
        self.nodes, self.weights, self.caches = [], [], []

    def weight(self, name, tensor, exact=False):
        """A weight in the graph's type, or in its own if it is `exact` or integer."""
        array = tensor.detach().float().numpy() if isinstance(tensor, torch.Tensor) else np.asarray(tensor)
        if array.dtype.kind == "f" and not exact:
            array = array.astype(self.numpy)
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, inputs, outputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[0]

    def to_float32(self, x, name):
        return self.node("Cast", [x], [name], to=TensorProto.FLOAT)

    def zeros(self, shape, name):
        return self.node("ConstantOfShape", [shape], [name], value=helper.make_tensor("zero", self.type, [1], [0]))

    def finish(self, attend, max_tokens, labels=1):
        """The model: inputs are those of the attention and its caches."""
        info, int32 = helper.make_tensor_value_info, attend.int32
        inputs = [info(name, TensorProto.INT32 if name in int32 else TensorProto.INT64, shape) for name, shape in attend.inputs.items()]
        inputs += [info(name, self.type, shape) for name, shape in self.caches]
        outputs = [info("logits", TensorProto.FLOAT, ["batch", labels])] + [info(name + ".out", self.type, shape) for name, shape in self.caches]
        graph = helper.make_graph(self.nodes, "packed-reward-model", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="guerdon packed_decoder")
        # A longer text exceeds the tables of angles, which not every operator detects.
        helper.set_model_props(model, {"guerdon.max_tokens": str(max_tokens)})
        return model


def save(model, path):
    """Writes the graph. Weights that exceed one ONNX file go to `<path>.data`."""
    large = sum(len(weight.raw_data) for weight in model.graph.initializer) > 1_500_000_000
    onnx.save_model(model, path, save_as_external_data=large, location=os.path.basename(path) + ".data")
