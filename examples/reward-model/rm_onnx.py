"""Score id lists with onnxruntime."""

import numpy as np
import onnxruntime as ort


def session(path, threads=0):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def score_batch(sess, seqs, pad_to=0):
    """One padded batch, right padding with id 0 and mask 0 -> float32 [batch]"""
    longest = max(pad_to, max(map(len, seqs)))
    ids = np.zeros((len(seqs), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, seq in enumerate(seqs):
        ids[row, : len(seq)], mask[row, : len(seq)] = seq, 1
    return sess.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0][:, 0]


def score_all(sess, seqs, token_budget=2048):
    """Many id lists, batched by length."""
    scores = np.zeros(len(seqs), np.float32)
    order, start = sorted(range(len(seqs)), key=lambda i: len(seqs[i])), 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * len(seqs[order[stop]]) <= token_budget:
            stop += 1
        part = order[start:stop]
        scores[part] = score_batch(sess, [seqs[i] for i in part])
        start = stop
    return scores.tolist()
