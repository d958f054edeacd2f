"""Score Encoded rows (rm_text.py) with onnxruntime, with a graph of either layout (onnx_encoder.py)."""

import numpy as np
import onnxruntime as ort


def session(path, threads=0):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leaves the cores to other work
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def padded(rows, longest):
    """One row per text, padded on the right with id 0 and mask 0."""
    ids = np.zeros((len(rows), longest), np.int64)
    mask, reply = np.zeros_like(ids), np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)], mask[i, : len(row.ids)] = row.ids, 1
        reply[i, row.reply[0]:row.reply[1]] = 1
    return {"input_ids": ids, "attention_mask": mask, "reply_mask": reply, "token_type_ids": np.zeros_like(ids)}


def packed(rows, longest):
    """Every distinct token once; rows with the same context share its nodes"""
    tokens, positions, scatter, first = [], [], [], {}
    lengths = [len(row.ids) for row in rows]
    begins = [row.reply[0] if row.reply[0] < row.reply[1] else len(row.ids) - 1 for row in rows]
    gather = np.zeros((len(rows), longest), np.int64)
    for i, (row, begin) in enumerate(zip(rows, begins)):
        context = tuple(row.ids[:begin])
        shared = begin if context in first else 0
        gather[i, :shared] = np.arange(shared) + first.setdefault(context, len(tokens))
        own = range(shared, len(row.ids))
        gather[i, shared:len(row.ids)] = len(tokens) + np.arange(len(own))
        tokens += row.ids[shared:]
        positions += own
        scatter += [i * longest + place for place in own]
    named = {"token_ids": tokens, "position_ids": positions, "gather_idx": gather, "scatter_idx": scatter,
             "lengths": lengths, "context_lens": begins}
    return {name: np.asarray(value, np.int64) for name, value in named.items()}


def score_batch(sess, rows, pad_to=0):
    """One batch -> float32 [batch]. Fills the inputs that the graph has."""
    names = [x.name for x in sess.get_inputs()]
    longest = max(pad_to, max(len(row.ids) for row in rows))
    known = (packed if "gather_idx" in names else padded)(rows, longest)
    return sess.run(["logits"], {name: known[name] for name in names})[0][:, 0]


def score_all(sess, rows, token_budget=2048):
    """Many rows, batched by length."""
    scores = np.zeros(len(rows), np.float32)
    order, start = sorted(range(len(rows)), key=lambda i: len(rows[i].ids)), 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(rows[order[stop]].ids) <= token_budget:
            stop += 1
        part = order[start:stop]
        scores[part] = score_batch(sess, [rows[i] for i in part])
        start = stop
    return scores.tolist()
