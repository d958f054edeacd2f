"""The Python half of prove.sh; runs in an unpacked bundle with torch and transformers only.

    python prove.py weights GRAPH     write the graph's weights, its manifest and reference scores of transformers
    python prove.py peer              rollouts per second of transformers on the same rollouts
    python prove.py free-port         a port of 127.0.0.1 that nothing listens on"""

import json
import socket
import sys
import time
import types


def main():
    if sys.argv[1] == "free-port":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            print(probe.getsockname()[1])
    elif sys.argv[1] == "peer":
        peer()
    else:
        weights(sys.argv[2])


def bundle():
    import workload

    return types.SimpleNamespace(**json.loads((workload.HERE / "bundle.json").read_text()))


class WeightFile:
    """Takes the place of packed_graph.Graph: writes the weights of a graph that pack.py has written."""

    def __init__(self, file, dtype):
        import torch

        self.file, self.type, self.caches, self.at = file, getattr(torch, dtype), [], 0

    def weight(self, name, tensor, exact=False):
        import torch
        import workload

        if isinstance(tensor, torch.Tensor):
            data = tensor.detach().to(torch.float32 if exact else self.type).contiguous().cpu().numpy()
            self.file.seek(self.at)
            self.file.write(data)
            self.at = workload.after(self.at, data.nbytes)
        return name

    def node(self, op, inputs, outputs, **attributes):
        return outputs[0]

    def to_float32(self, x, name):
        return name

    def zeros(self, shape, name):
        return name

    def finish(self, attend, max_tokens, labels=1):
        return self.at


def weights(name, references=64):
    import packed_decoder
    import torch
    import workload
    from manifest import write_manifest

    about, folder = bundle(), workload.HERE / name
    model = workload.model_of(about.shape, about.device)
    limit = workload.MAX_TOKENS[about.shape]
    attention, gate_up = workload.GRAPHS[name]
    with (folder / workload.DATA).open("wb") as file:
        size = packed_decoder.build(model, about.dtype, limit, attention, gate_up, WeightFile(file, about.dtype))
    options = types.SimpleNamespace(name="workload", about="random weights, for measurements", license="", max_tokens=limit)
    write_manifest(folder, options, chat={})
    model.to(about.device)
    ids = workload.ids_of(workload.SHAPES[about.shape]["vocab_size"])
    with (folder / "reference.jsonl").open("w", encoding="utf-8") as out, torch.inference_mode():
        for row in workload.read_rollouts(workload.HERE / "rollouts.jsonl")[:references]:
            tokens = torch.tensor([workload.tokens_of(row, ids)], device=about.device)
            score = float(model(input_ids=tokens).logits[0, 0])
            out.write(json.dumps({"messages": row["messages"], "index": 1, "score": score}) + "\n")
    print(f"{name}: {size / 1e6:.0f} MB of weights")


def peer(count=256, size=32):
    """transformers with its own attention, padded batches in file order and by length: a part of the rollouts."""
    import torch
    import workload

    about = bundle()
    model = workload.model_of(about.shape, about.device).to(about.device)
    model = model.bfloat16() if about.device == "cuda" else model
    model.config.pad_token_id = 0
    ids = workload.ids_of(workload.SHAPES[about.shape]["vocab_size"])
    rows = [workload.tokens_of(row, ids) for row in workload.read_rollouts(workload.HERE / "rollouts.jsonl")[:count]]

    @torch.inference_mode()
    def score(rows):
        for start in range(0, len(rows), size):
            part = rows[start:start + size]
            longest = max(map(len, part))
            tokens = torch.tensor([row + [0] * (longest - len(row)) for row in part], device=about.device)
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in part], device=about.device)
            model(input_ids=tokens, attention_mask=mask).logits.cpu()

    for name, order in (("in file order", rows), ("by length", sorted(rows, key=len))):
        score(order[:size])
        started = time.perf_counter()
        score(order)
        seconds = time.perf_counter() - started
        print(f"transformers, {next(model.parameters()).dtype}, batches of {size} {name}: {len(rows) / seconds:.1f} rollouts/s")


if __name__ == "__main__":
    main()
