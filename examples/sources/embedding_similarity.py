"""The cosine similarity between the reply and `context.reference`, in [-1, 1], in batches.

    pip install sentence-transformers
    python -m guerdon.source embedding_similarity.py

A policy learns to write near-copies of the reference where this weighs much: use it for a small share of a reward.
"""

import numpy as np

import guerdon

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@guerdon.source(batched=True, version=MODEL)
class EmbeddingSimilarity:
    def __init__(self):
        try:
            from sentence_transformers import SentenceTransformer
        except ModuleNotFoundError as missing:
            help = "pip install sentence-transformers"
            raise guerdon.Abstain(f"the source needs sentence-transformers; {help}") from missing
        self.encode = SentenceTransformer(MODEL).encode

    def __call__(self, turns):
        asked = [turn for turn in turns if "reference" in turn.context]
        texts = [turn.content for turn in asked] + [str(turn.context["reference"]) for turn in asked]
        if asked:
            vectors = np.asarray(self.encode(texts), dtype=float)
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
            cosines = iter((vectors[: len(asked)] * vectors[len(asked) :]).sum(axis=1))
        missing = guerdon.Abstain("context.reference is missing")
        return [next(cosines) if "reference" in turn.context else missing for turn in turns]
