"""Scores of an exported graph in ONNX Runtime on a CPU: padded graphs, and packed decoders one text at a time."""

import numpy as np
import onnxruntime as ort


def session(model):
    """model: a path, or the bytes of a model."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"])


def is_packed(sess):
    return any(i.name == "token_ids" for i in sess.get_inputs())


def one_text(ids):
    """The inputs of every packed decoder for one text. See packed.rs and chunks.rs in crates/guerdon-model/src/engine."""
    n = len(ids)
    places, one = np.arange(n), np.zeros((1, 1), np.int64)
    return {"token_ids": np.array(ids), "position_ids": places, "gather_idx": places[None], "scatter_idx": places,
            "seqlens_k": np.array([n - 1], np.int32), "total_len": np.array(n, np.int32), "last_idx": np.array([n - 1]),
            "long_query_idx": places[None], "long_key_idx": places[None], "long_starts": np.array([0]),
            "short_query_idx": one, "short_key_idx": one, "short_starts": np.array([0])}


def batch_of(texts, pad, left, first_position=0):
    """The inputs of a padded graph, as int64."""
    longest = max(map(len, texts))
    ids, mask = np.full((len(texts), longest), pad), np.zeros((len(texts), longest), np.int64)
    for row, text in enumerate(texts):
        place = slice(longest - len(text), None) if left else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    positions = np.maximum(mask.cumsum(1) - 1, 0) + first_position
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids), "position_ids": positions}


TYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64}


def feed(sess, inputs):
    """The inputs that the graph has, as its types."""
    return {i.name: np.asarray(inputs[i.name]).astype(TYPES.get(i.type, np.int64)) for i in sess.get_inputs()}


def scores(sess, texts, pad=0, side=None, batch=8, output="logits", first_position=0):
    """Scores of token ids, [texts, labels]: alone if `side` is None, else padded on that side."""
    def run(inputs):
        found = sess.run([output], feed(sess, inputs))[0]
        return found.reshape(len(found), -1)

    if is_packed(sess):
        return np.concatenate([run(one_text(ids)) for ids in texts])
    size = 1 if side is None else batch
    return np.concatenate([run(batch_of(texts[at:at + size], pad, side == "left", first_position)) for at in range(0, len(texts), size)])
