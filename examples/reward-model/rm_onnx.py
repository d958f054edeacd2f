"""Score Encoded rows (rm_text.py) with onnxruntime."""

import numpy as np
import onnxruntime as ort


def session(path, threads=0):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a busy machine has better uses
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def score_batch(sess, rows, pad_to=0):
    """One batch, padded on the right with id 0 and mask 0 -> float32 [batch]. Fills the inputs that the graph has."""
    longest = max(pad_to, max(len(row.ids) for row in rows))
    ids = np.zeros((len(rows), longest), np.int64)
    mask, reply = np.zeros_like(ids), np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)], mask[i, : len(row.ids)] = row.ids, 1
        reply[i, row.reply[0]:row.reply[1]] = 1
    known = {"input_ids": ids, "attention_mask": mask, "reply_mask": reply, "token_type_ids": np.zeros_like(ids)}
    return sess.run(["logits"], {x.name: known[x.name] for x in sess.get_inputs()})[0][:, 0]


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
