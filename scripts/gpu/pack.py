"""Write what prove.sh needs in addition to binaries: graphs without weights, rollouts, and the recipe's files.

    python scripts/gpu/pack.py OUT [--shape qwen3-0.6b | tiny] [--device cuda | cpu] [--prompts 128] [--samples 8]

A graph refers to weights in `model.onnx.data`, which prove.py writes on the machine with the GPU: they are
random, and 1.2 GB of them need not be transferred. For a CPU, paged attention is replaced by the tests'
stand-in, and the arithmetic is fp32. Needs torch, transformers, onnx, ml_dtypes and tokenizers."""

import argparse
import json
import shutil
import sys
from pathlib import Path

import onnx
import torch
from onnx import TensorProto
from tokenizers import Tokenizer, models, pre_tokenizers
from workload import DATA, GRAPHS, HERE, MAX_TOKENS, SHAPES, TEMPLATE, WORDS, after, ids_of, model_of, rollouts

import packed_decoder
import packed_graph

ROOT = HERE.parents[1]


class Skeleton(packed_graph.Graph):
    """A graph whose tensors of torch are places in a file of weights."""

    at = 0

    def weight(self, name, tensor, exact=False):
        if not isinstance(tensor, torch.Tensor):
            return super().weight(name, tensor, exact)
        place = TensorProto(name=name, dims=tensor.shape, data_type=TensorProto.FLOAT if exact else self.type,
                            data_location=TensorProto.EXTERNAL)
        length = tensor.numel() * (4 if exact else self.numpy().nbytes)
        for key, value in (("location", DATA), ("offset", self.at), ("length", length)):
            place.external_data.add(key=key, value=str(value))
        self.at = after(self.at, length)
        self.weights.append(place)
        return name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    vocabulary = SHAPES[args.shape]["vocab_size"]
    with (args.out / "rollouts.jsonl").open("w", encoding="utf-8") as out:
        for row in rollouts(args.prompts, args.samples, args.shape):
            out.write(json.dumps(row) + "\n")
    model = model_of(args.shape, "meta")
    dtype = "float16" if args.device == "cuda" else "float32"
    tokenizer = Tokenizer(models.WordLevel(ids_of(vocabulary), unk_token=WORDS[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for name, (attention, gate_up) in GRAPHS.items():
        folder = args.out / name
        folder.mkdir(exist_ok=True)
        graph = packed_decoder.build(model, dtype, MAX_TOKENS[args.shape], attention, gate_up, Skeleton(dtype))
        if attention == "paged" and args.device == "cpu":
            graph = stand_in(graph)
        onnx.save(graph, folder / "model.onnx")
        tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    tiny = "tiny-decoder-cuda" if args.device == "cuda" else "tiny-decoder-paged"
    shutil.copytree(ROOT / "crates/guerdon-model/tests" / tiny, args.out / "tiny", dirs_exist_ok=True)
    for file in (ROOT / "examples/reward-model").glob("*.py"):
        shutil.copy(file, args.out)
    for name in ("workload.py", "prove.py", "ask.py"):
        shutil.copy(HERE / name, args.out)
    (args.out / "bundle.json").write_text(json.dumps({"shape": args.shape, "device": args.device, "dtype": dtype}))


def stand_in(graph):
    """The tests' replacement of PagedAttention in standard operators, which a CPU runs."""
    sys.path.append(str(ROOT / "crates/guerdon-model/tests"))
    import paged_stand_in

    return paged_stand_in.stand_in(graph)


if __name__ == "__main__":
    main()
