"""Write the bundled model in the other layout (onnx_encoder.py): bit-identical weights, the same
arithmetic.

    python relayout.py models/e5-hh/model.onnx padded.onnx --layout padded

Weights in blocks are stored in the same blocks again. The result serves runtimes that take padded graphs
only, and benchmarks that compare with one."""

import argparse
import json

import numpy as np
import onnx
from onnx import numpy_helper

import onnx_encoder
from onnx_graph import read_blocks

PARTS = ("query", "key", "value", "mix", "up", "down")


def state_of(model):
    """-> the arguments of `onnx_encoder.build`: state, config, bits"""
    known = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}

    def matrix(name):
        for bits in (4, 8):
            if f"{name}.int{bits}" in constants:
                return read_blocks(constants[f"{name}.int{bits}"], constants[f"{name}.scale"])
        return constants[name]

    state = {"encoder.words.weight": matrix("words"), "encoder.places.weight": matrix("places")}
    norms = {"encoder.norm": "embeddings"}
    for i in range(known["config"]["layers"]):
        key, name = f"encoder.layers.{i}.", f"layer{i}."
        norms |= {key + norm: name + norm for norm in ("norm1", "norm2")}
        for part in PARTS:
            state |= {f"{key}{part}.weight": matrix(f"{name}{part}.rows"), f"{key}{part}.bias": constants[f"{name}{part}.bias"]}
    for key, name in norms.items():
        state |= {f"{key}.{half}": constants[f"{name}.{half}"] for half in ("weight", "bias")}
    for head in ("head", "gate"):
        state |= {f"{head}.weight": constants[f"{head}.weight"], f"{head}.bias": constants[f"{head}.bias"][:, 0]}
    return state, known["config"], known["bits"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("out")
    p.add_argument("--layout", choices=onnx_encoder.LAYOUTS, required=True)
    args = p.parse_args()
    before = onnx.load(args.model)
    after = onnx_encoder.build(*state_of(before), args.layout)
    was = {c.name: c for c in before.graph.initializer}
    for constant in after.graph.initializer:
        if constant.name in was and not np.array_equal(numpy_helper.to_array(constant), numpy_helper.to_array(was[constant.name])):
            raise SystemExit(f"{constant.name} did not come back as it was stored")
    onnx.save(after, args.out)


if __name__ == "__main__":
    main()
