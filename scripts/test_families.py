#!/usr/bin/env python3
"""Tests the reward model recipes on small random models of every supported family. `make test-families`.

    python scripts/test_families.py OUT [CASE ...]           GUERDON: the binary; by default target/debug/guerdon
    python scripts/test_families.py --fixtures FOLDER        writes the tiny models that `make test` replays

Each checkpoint is made here with one or two layers and a tokenizer trained on the recipe's dialogues, so nothing is downloaded.
`export_hf.py` compares each graph with the model's own class in transformers, `guerdon rm check` compares guerdon with the
scores that the export wrote, alone and in batches, and `guerdon rm init` drafts a manifest for a plain export of the same
checkpoint. A case is a family with a number of labels, a padding side, a padding token and a rope scaling; CASES covers every
pair of them that can occur. The environment variable DONE names a file: cases that passed are added to it, and those in it are
skipped, so that a stopped run continues. SECONDS_LIMIT ends a run after that time with status 75 if cases are left. `train.py` trains one encoder and one decoder. Needs the packages of examples/reward-model/requirements.txt.
"""

import itertools
import json
import os
import pathlib
import re
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECIPE = ROOT / "examples" / "reward-model"
GUERDON = os.environ.get("GUERDON") or ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "guerdon"
sys.path.insert(0, str(RECIPE))
# One thread, so that a process may be forked after torch has run.
os.environ["OMP_NUM_THREADS"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers  # noqa: E402
from transformers import PreTrainedTokenizerFast  # noqa: E402

import framework  # noqa: E402

MAX_TOKENS = 96
# Rows of a fixture's reference; the replay takes eight of them.
FIXTURE_ROWS = 12
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{{ eos_token }}"
SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=160)
DECODER = SMALL | dict(num_key_value_heads=1, head_dim=8)
ENCODERS = {
    "Bert": {},
    # These count positions from the padding id plus one.
    "Roberta": {}, "XLMRoberta": {}, "Camembert": {}, "MPNet": {},
    "DistilBert": dict(dim=16, n_layers=2, n_heads=2, hidden_dim=24),
    "Electra": dict(embedding_size=8), "Albert": dict(embedding_size=8),
    "ModernBert": dict(cls_token_id=0, sep_token_id=2, bos_token_id=0, eos_token_id=2, local_attention=16, global_attn_every_n_layers=2),
    "Deberta": dict(relative_attention=True, pos_att_type=["p2c", "c2p"], type_vocab_size=0, position_biased_input=False),
    "DebertaV2": dict(relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=16, norm_rel_ebd="layer_norm", share_att_key=True,
                      type_vocab_size=0, position_biased_input=False),
}
PACKED = {"Llama": {}, "Mistral": dict(sliding_window=None), "Qwen2": {}, "Qwen3": {}, "Gemma": {}}
PADDED = {
    "GPT2": dict(n_embd=16, n_layer=2, n_head=2, n_positions=160), "Phi3": dict(head_dim=None),
    "Gemma2": dict(sliding_window=16, query_pre_attn_scalar=8), "Gemma3Text": dict(sliding_window=16, query_pre_attn_scalar=8),
}
CLASSES = {"Gemma3Text": "Gemma3TextForSequenceClassification"}
ROPE = {
    "linear": dict(rope_type="linear", factor=2.0),
    "dynamic": dict(rope_type="dynamic", factor=2.0),
    "yarn": dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=40),
    "llama3": dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=40),
    "longrope": dict(rope_type="longrope", factor=1.0, original_max_position_embeddings=160, short_factor=[1.0 + 0.1 * n for n in range(4)],
                     long_factor=[2.0 + 0.3 * n for n in range(4)]),
}
# Decoders whose rotary angles may be scaled, and in which ways.
SCALED = {"Llama": list(ROPE), "Mistral": list(ROPE), "Qwen2": list(ROPE), "Qwen3": list(ROPE), "Phi3": ["longrope"]}


def possible():
    """Every case that can be served: family, labels, padding side, padding token, rope scaling. An encoder that pools its first token
    is padded on the right."""
    for name in [*ENCODERS, *PACKED, *PADDED]:
        for labels in (1, 2, 5):
            if name in ENCODERS:
                yield name, labels, "right", "own", None
                continue
            for side in ("left", "right"):
                for pad in ("own", "eos"):
                    for rope in [None, *SCALED.get(name, [])]:
                        yield name, labels, side, pad, rope


def pairs_of(case):
    """The pairs of settings that a case covers."""
    return set(itertools.combinations(enumerate(case), 2))


def cover(cases):
    """A few of `cases` that have every pair of settings which any of them has."""
    left, chosen = set().union(*map(pairs_of, cases)), []
    while left:
        best = max(cases, key=lambda case: len(pairs_of(case) & left))
        chosen.append(best)
        left -= pairs_of(best)
    return chosen


CASES = cover(list(possible()))
assert set().union(*map(pairs_of, CASES)) == set().union(*map(pairs_of, possible())), "a pair of settings is not covered"
# The committed fixtures: every family once, with every value of the other settings.
FIXTURES = [("Bert", 1), ("Roberta", 2), ("XLMRoberta", 1), ("Camembert", 5), ("MPNet", 1), ("DistilBert", 5), ("Electra", 1), ("Albert", 2),
            ("ModernBert", 1), ("Deberta", 2), ("DebertaV2", 1)]
FIXTURES = [(name, labels, "right", "own", None) for name, labels in FIXTURES] + [
    ("GPT2", 1, "left", "eos", None), ("Llama", 1, "right", "eos", "llama3"), ("Llama", 2, "left", "own", "linear"), ("Llama", 1, "right", "own", "dynamic"),
    ("Mistral", 5, "left", "own", None), ("Qwen2", 1, "right", "eos", None), ("Qwen3", 2, "left", "eos", "yarn"), ("Gemma", 1, "right", "own", None),
    ("Gemma2", 2, "left", "own", None), ("Gemma3Text", 1, "right", "eos", None), ("Phi3", 1, "left", "own", "longrope"),
]


def title(case):
    name, labels, side, pad, rope = case
    return "-".join([name.lower(), str(labels), side, f"pad-{pad}", *([rope] if rope else [])])


def tokenizer(is_decoder, side, pad):
    """Bytes and some merges learned from the dialogues; an encoder's puts <s> and </s> around a text."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    made.train_from_iterator((m["content"] for _, messages in framework.dialogues() for m in messages), trainer)
    if not is_decoder:
        made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", cls_token="<s>", sep_token="</s>",
                                      pad_token="</s>" if pad == "eos" else "<pad>", padding_side=side)
    if is_decoder:
        wrapped.chat_template = TEMPLATE
    return wrapped


def checkpoint(case, folder, **more):
    name, labels, side, pad, rope = case
    is_decoder = name not in ENCODERS
    tok = tokenizer(is_decoder, side, pad)
    options = (DECODER if is_decoder else SMALL) | (ENCODERS | PACKED | PADDED)[name] | dict(num_labels=labels, pad_token_id=tok.pad_token_id) | more
    options = {key: value for key, value in options.items() if value is not None or key == "sliding_window"}
    if rope:
        options["rope_parameters"] = {"rope_theta": 10000.0} | ROPE[rope]
    config = getattr(transformers, name + "Config")(vocab_size=len(tok), **options)
    torch.manual_seed(len(title(case)))
    model = getattr(transformers, CLASSES.get(name, name + "ForSequenceClassification"))(config)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if weight.dim() > 1:  # large enough for scores to differ
                # Rounded, so that a fixture takes little room in the repository.
                weight.copy_((torch.randn_like(weight) * 0.25 * 64).round() / 64)
            elif "norm" in key.lower():
                weight.copy_((weight + torch.randn_like(weight) * 0.05).mul(64).round() / 64)
    model.save_pretrained(folder)
    tok.save_pretrained(folder)


def export(case, source, target):
    """The command that exports a checkpoint."""
    name, labels = case[:2]
    command = [sys.executable, RECIPE / "export_hf.py", "--checkpoint", source, "--out", target, "--max-tokens", MAX_TOKENS, "--name", title(case)]
    return command + ["--layout", "padded"] * (name in PADDED) + ["--label", labels - 1] * (labels > 1)


def forked(script, *arguments):
    """Runs a script of the recipe in a copy of this process, which has loaded torch: (exit status, output)."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                sys.argv = [str(script), *map(str, arguments)]
                runpy.run_path(str(script), run_name="__main__")
                status = 0
            except SystemExit as end:
                if isinstance(end.code, str):
                    print(end.code, flush=True)
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:  # as an interpreter of its own would end
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        file.seek(0)
        return os.waitstatus_to_exitcode(status), file.read().decode(errors="replace")


def run(what, *command, fails=None):
    """True if the command succeeds, or fails with the text `fails` in its output."""
    if command[0] == sys.executable:
        status, output = forked(*command[1:])
    else:
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        status, output = result.returncode, result.stdout + result.stderr
    good = status == 0 if fails is None else status != 0 and fails in output
    print(f"{'ok  ' if good else 'FAIL'} {what}", flush=True)
    if not good:
        print(output[-6000:])
    return good


def plain_export(case, source, target):
    """A folder as other exporters leave it: graph, tokenizer and configuration without a manifest."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors"))
    name = CLASSES.get(case[0], case[0] + "ForSequenceClassification")
    model = getattr(transformers, name).from_pretrained(source, attn_implementation="eager").eval()
    model.config.use_cache = False
    takes_types = getattr(model.config, "type_vocab_size", 0) and case[0] in ("Bert", "Electra", "Albert")

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids=None):
            more = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **more).logits

    ids, mask = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 1, 1]]), torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("seq")}
    names = ["input_ids", "attention_mask"] + ["token_type_ids"] * bool(takes_types)
    values = (ids, mask) + (torch.zeros_like(ids),) * bool(takes_types)
    (target / "onnx").mkdir()
    torch.onnx.export(Logits().eval(), values, str(target / "onnx" / "model.onnx"), input_names=names, output_names=["logits"],
                      dynamic_shapes={name: shape for name in names},
                      dynamo=True, external_data=False, opset_version=18, verbose=False)


def int32_ids(model):
    """The graph with ids of 32 bits, as some exporters write them for other engines."""
    from onnx import TensorProto, helper

    casts = [helper.make_node("Cast", [value.name], [value.name + ".int64"], to=TensorProto.INT64) for value in model.graph.input]
    wide = {cast.input[0]: cast.output[0] for cast in casts}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = wide.get(name, name)
    for value in model.graph.input:
        value.type.tensor_type.elem_type = TensorProto.INT32
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def half(model):
    """The graph in 16 bits with logits in 16 bits, as `optimum-cli export onnx --dtype fp16` writes it."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=False)


def forms(out):
    """Folders in the forms that other tools leave, without a manifest."""
    import onnx

    case, right = ("XLMRoberta", 1, "right", "own", None), []
    source, plain = out / "forms" / "checkpoint", out / "forms" / "plain"
    checkpoint(case, source)
    plain_export(case, source, plain)
    graph = pathlib.Path("onnx") / "model.onnx"

    def form(name, change, *options):
        folder = out / "forms" / name
        shutil.copytree(plain, folder)
        change(folder)
        right.append(run(f"{name}: drafted", GUERDON, "rm", "init", folder, "--max-tokens", MAX_TOKENS, "--python", sys.executable, "--checkpoint", source, *options))
        right.append(run(f"{name}: scores as transformers", GUERDON, "rm", "check", folder))

    def flat(folder):
        shutil.move(folder / graph, folder / "model.onnx")

    def external(folder):
        onnx.save(onnx.load(folder / graph), folder / graph, save_as_external_data=True, location="model.onnx_data", size_threshold=1024)

    def quantised_beside(folder):
        shutil.copy(folder / graph, folder / "onnx" / "model_quantized.onnx")

    def without_padding(folder):
        for name, keys in (("config.json", ["pad_token_id"]), ("tokenizer_config.json", ["pad_token"])):
            settings = json.loads((folder / name).read_text())
            (folder / name).write_text(json.dumps({key: value for key, value in settings.items() if key not in keys}))

    form("a folder of sentence-transformers", lambda folder: (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 128}'))
    form("a flat folder", flat)
    form("a cross-encoder", lambda folder: (folder / "config.json").write_text(json.dumps(
        json.loads((folder / "config.json").read_text()) | {"sentence_transformers": {"version": "5.0.0"}})))
    form("pairs by the user's word", lambda folder: None, "--pair")
    form("weights in a file of their own", external)
    form("a quantised graph beside", quantised_beside)
    form("ids of 32 bits", lambda folder: onnx.save(int32_ids(onnx.load(folder / graph)), folder / graph))
    form("logits of 16 bits", lambda folder: onnx.save(half(onnx.load(folder / graph)), folder / graph))
    form("no padding token", without_padding)
    foreign = out / "forms" / "foreign tokenizer"
    shutil.copytree(plain, foreign)
    other = json.loads((foreign / "tokenizer.json").read_text())
    vocabulary = other["model"]["vocab"]
    a, b = list(vocabulary)[100:102]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (foreign / "tokenizer.json").write_text(json.dumps(other))
    right.append(run("a foreign tokenizer is refused", GUERDON, "rm", "init", foreign, "--max-tokens", MAX_TOKENS, "--python", sys.executable,
                     "--checkpoint", source, fails="in the reference"))
    return right


def labels(out):
    """The rules by which the names of labels become a score are those of guerdon, and both commands write what they say."""
    import label_output

    right = []
    for case in json.loads((ROOT / "crates/guerdon-model/tests/label_cases.json").read_text()):
        found = label_output.known_labels(case["names"], case.get("problem_type"))
        found = (label_output.all_labels(case["names"]), True) if case.get("all") else found
        expected = case["output"] and (case["output"], case.get("is_guess", False))
        if found != expected:
            right.append(False)
            print(f"FAIL labels {case['names']}: {found}")
    names = {"preferences": ["rejected", "chosen"], "objectives": ["helpfulness", "correctness", "coherence", "complexity", "verbosity"],
             "grades": ["1 star", "2 stars", "3 stars"], "a reward": ["cost", "reward"], "all": ["bad", "good"]}
    for number, (kind, named) in enumerate(names.items()):
        case, source = ("Bert", len(named), "right", "own", None), out / "labels" / str(number)
        checkpoint(case, source, id2label=dict(enumerate(named)))
        more = ["--label", "all"] if kind == "all" else []
        target, plain = out / "labels" / f"{number}-exported", out / "labels" / f"{number}-plain"
        command = [sys.executable, RECIPE / "export_hf.py", "--checkpoint", source, "--out", target, "--max-tokens", MAX_TOKENS]
        right.append(run(f"labels, {kind}: exported", *command, *more))
        right.append(run(f"labels, {kind}: as transformers scores", GUERDON, "rm", "check", target))
        plain_export(case, source, plain)
        right.append(run(f"labels, {kind}: drafted", GUERDON, "rm", "init", plain, "--max-tokens", MAX_TOKENS, "--python", sys.executable,
                         "--checkpoint", source, *more))
        right.append(run(f"labels, {kind}: the draft scores as transformers", GUERDON, "rm", "check", plain))
        sections = [(folder / "guerdon.model.toml").read_text() for folder in (target, plain) if (folder / "guerdon.model.toml").exists()]
        outputs = [tomllib.loads(section)["output"] for section in sections]
        right.append(len(outputs) == 2 and outputs[0] == outputs[1])
        print(f"{'ok  ' if right[-1] else 'FAIL'} labels, {kind}: both write {outputs}", flush=True)
    return right


def whole_case(case, out):
    folder = out / title(case)
    source, target = folder / "checkpoint", folder / "exported"
    checkpoint(case, source)
    right = [run(f"{title(case)}: exported", *export(case, source, target))]
    right.append(run(f"{title(case)}: as transformers scores", GUERDON, "rm", "check", target))
    label = ["--label", case[1] - 1] if case[1] > 1 else []
    if case[4] is None and case[0] in ENCODERS:
        plain_export(case, source, folder / "plain")
        right.append(run(f"{title(case)}: drafted", GUERDON, "rm", "init", folder / "plain", "--max-tokens", MAX_TOKENS, "--python", sys.executable,
                         "--checkpoint", source, *label))
        right.append(run(f"{title(case)}: the draft scores as transformers", GUERDON, "rm", "check", folder / "plain"))
    return right


def refusals(out):
    """Checkpoints that must not be exported as they are, and the words of the refusal."""
    folder, right = out / "refused", []
    case = ("Llama", 2, "right", "own", None)
    checkpoint(case, folder / "labels")
    bare = [sys.executable, RECIPE / "export_hf.py", "--out", folder / "x", "--checkpoint"]
    right.append(run("labels without names need --label", *bare, folder / "labels", fails="0 = LABEL_0, 1 = LABEL_1"))
    checkpoint(("Llama", 1, "right", "own", "dynamic"), folder / "dynamic")
    right.append(run("dynamic angles beyond their limit", *bare, folder / "dynamic", "--max-tokens", 161, fails="--max-tokens 160 or less"))
    # A language model without the head of a classifier.
    shutil.copytree(folder / "dynamic", folder / "headless", dirs_exist_ok=True)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=420, **DECODER)).save_pretrained(folder / "headless")
    right.append(run("a checkpoint without a head", *bare, folder / "headless", fails="transformers fills them with random numbers"))
    # A checkpoint with code of its own.
    custom = folder / "custom"
    checkpoint(("Bert", 1, "right", "own", None), custom)
    (custom / "own.py").write_text(OWN_CODE)
    config = json.loads((custom / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForSequenceClassification": "own.Doubled"}, "architectures": ["Doubled"]}
    (custom / "config.json").write_text(json.dumps(config))
    right.append(run("own code is not run unasked", *bare, custom, fails="--trust-remote-code"))
    right.append(run("own code of a hub name", *bare, "someone/model", "--trust-remote-code", fails="not a local folder"))
    right.append(run("own code is run when asked", *bare, custom, "--trust-remote-code", "--max-tokens", MAX_TOKENS))
    right.append(run("own code: as transformers scores", GUERDON, "rm", "check", folder / "x"))
    return right


OWN_CODE = '''"""A classifier with a head of its own."""

from transformers import BertForSequenceClassification


class Doubled(BertForSequenceClassification):
    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None):
        out = super().forward(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        out.logits = out.logits * 2 + 1
        return out
'''


def pairs(path):
    """Writes pairs of each dialogue's last message and the same message backwards, which is worse."""
    dialogues = json.loads((RECIPE / "hotel_dialogues.json").read_text(encoding="utf-8"))
    with path.open("w", encoding="utf-8") as file:
        for number in range(8 * len(dialogues)):
            *prompt, last = dialogues[number % len(dialogues)]["messages"]
            row = {"group": f"dialogue-{number}", "source": "made", "prompt": prompt, "chosen": last["content"],
                   "rejected": last["content"][::-1]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def trained(case, out):
    """Trains a checkpoint and exports it in every storage, and for CUDA."""
    folder, name = out / f"trained-{title(case)}", case[0]
    # Paged attention on CUDA takes heads of 16 numbers or a multiple.
    checkpoint(case, folder / "base", **({} if name in ENCODERS else {"head_dim": 16}))
    pairs(folder / "pairs.jsonl")
    right = [run(f"{name}: trained", sys.executable, RECIPE / "train.py", "--base", folder / "base", "--pairs", folder / "pairs.jsonl", "--out",
                 folder / "trained", "--epochs", 1, "--max-tokens", MAX_TOKENS, "--margin", 0.5)]
    for storage in ("fp32", "fp16", "int8"):
        target = folder / storage
        right.append(run(f"{name}, {storage}: exported", *export(case, folder / "trained", target), "--storage", storage))
        right.append(run(f"{name}, {storage}: as transformers scores", GUERDON, "rm", "check", target))
    right.append(run(f"{name}, cuda: exported", *export(case, folder / "trained", folder / "cuda"), "--device", "cuda"))
    if name in ENCODERS:
        right.append(run(f"{name}, cuda: as transformers scores, on a CPU", GUERDON, "rm", "check", folder / "cuda"))
    return right


def without_names(model):
    """Removes what a graph says about its source, which is larger than a tiny model."""
    del model.metadata_props[:]
    for thing in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        thing.ClearField("doc_string")
        if hasattr(thing, "metadata_props"):
            del thing.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.ClearField("name")
    return model


def takes_positions(source, target):
    """Replaces the graph in `target` by one that takes `position_ids`, which RoBERTa counts from its padding id plus one."""
    model = transformers.RobertaForSequenceClassification.from_pretrained(source, attn_implementation="eager").eval()

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, position_ids):
            return self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids).logits

    ids, mask, places = torch.tensor([[5, 6, 7, 8], [5, 6, 1, 1]]), torch.tensor([[1] * 4, [1, 1, 0, 0]]), torch.tensor([[2, 3, 4, 5]] * 2)
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("seq")}
    names = ["input_ids", "attention_mask", "position_ids"]
    torch.onnx.export(Logits().eval(), (ids, mask, places), str(target / "model.onnx"), input_names=names, output_names=["logits"],
                      dynamic_shapes={name: shape for name in names}, dynamo=True, external_data=False, opset_version=18, verbose=False)
    manifest = target / "guerdon.model.toml"
    manifest.write_text(manifest.read_text().replace("pad_token", "first_position = 2\npad_token", 1))


# Wide enough for products that are worth 8 bits.
WIDE = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4)


def scales_by_batch(target):
    """Quantises the graph as most tools do, with one scale for all texts of a batch, and states its error."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    import graph_scores

    rows = [json.loads(line) for line in (target / "reference.jsonl").read_text(encoding="utf-8").splitlines()]
    # Seven bits: sums of products of eight overflow on processors without VNNI, which then give other scores.
    quantize_dynamic(str(target / "model.onnx"), str(target / "model.onnx"), weight_type=QuantType.QInt8, reduce_range=True)
    found = graph_scores.scores(graph_scores.session(target / "model.onnx"), [row["ids"] for row in rows])[:, 0]
    assert any(node.op_type == "DynamicQuantizeLinear" for node in onnx.load(target / "model.onnx").graph.node)
    expected = [row["score"] for row in rows]
    spread = statistics.pstdev(expected)
    error = max(abs(float(score) - wanted) / spread for score, wanted in zip(found, expected))
    manifest = target / "guerdon.model.toml"
    manifest.write_text(re.sub(r"(?m)^error = .*$", f"error = {error:.3e}", manifest.read_text(encoding="utf-8"), count=1), encoding="utf-8")


def fixture(case, out, scratch, kind=None):
    """A tiny model with a few rows of its reference; the tokenizers are shared by all. kind: `positions` for a graph that takes them,
    `int8` for 8-bit arithmetic, `by-batch` for a graph whose scores depend on the other texts of a batch."""
    import hashlib

    import onnx

    source, target = scratch / title(case), out / "-".join([title(case), *([kind] if kind else [])])
    checkpoint(case, source, **(WIDE if kind in ("int8", "by-batch") else {}))
    if not run(f"{target.name}: exported", *export(case, source, target), *(["--precision", "int8"] if kind == "int8" else [])):
        sys.exit(1)
    if kind == "positions":
        takes_positions(source, target)
    elif kind == "by-batch":
        scales_by_batch(target)
    limits = [p for p in onnx.load(target / "model.onnx").metadata_props if p.key == "guerdon.max_tokens"]
    model = without_names(onnx.load(target / "model.onnx"))
    model.metadata_props.extend(limits)
    onnx.save(model, target / "model.onnx")
    rows = [json.loads(line) for line in (target / "reference.jsonl").read_text(encoding="utf-8").splitlines()]
    by_length = sorted(rows, key=lambda row: (row["truncated"], len(row["ids"])))
    step = max(1, len(by_length) // FIXTURE_ROWS)
    emoji = [row for row in rows if any(ord(letter) > 0xFFFF for m in row["messages"] for letter in m["content"])][:1]
    kept = {id(row): row for row in [*emoji, *by_length[::step][:FIXTURE_ROWS], by_length[-1]]}.values()
    framework.write(list(kept), target / "reference.jsonl")
    shared = out / f"{'decoder' if case[0] not in ENCODERS else 'encoder'}.json"
    own = target / "tokenizer.json"
    is_shared = not shared.exists() or shared.read_bytes() == own.read_bytes()
    if is_shared:
        shutil.move(own, shared)
    else:  # transformers gives the family a tokenizer class that changes it
        shared = own
    text = (target / "guerdon.model.toml").read_text(encoding="utf-8")

    def hashed(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    lines = []
    for line in text.splitlines():
        key = line.split(" = ")[0]
        new = {"tokenizer": f"../{shared.name}" if is_shared else own.name, "tokenizer_sha256": hashed(shared), "model_sha256": hashed(target / "model.onnx"),
               "sha256": hashed(target / "reference.jsonl")}
        lines.append(f'{key} = "{new[key]}"' if key in new else line)
    (target / "guerdon.model.toml").write_text("# Written by scripts/test_families.py.\n" + "\n".join(lines) + "\n", encoding="utf-8")


def main():
    if sys.argv[1] == "--fixtures":
        out, chosen = pathlib.Path(sys.argv[2]), sys.argv[3:]
        scratch = out.with_name(f".{out.name}-checkpoints")
        for case in FIXTURES:
            if not chosen or title(case) in chosen:
                fixture(case, out, scratch)
        for name, kind in (("Roberta", "positions"), ("Bert", "int8"), ("Bert", "by-batch")):
            if not chosen or kind in chosen:
                fixture((name, 1, "right", "own", None), out, scratch, kind)
        shutil.rmtree(scratch, ignore_errors=True)
        return
    out, chosen = pathlib.Path(sys.argv[1]), sys.argv[2:]
    parts = {title(case): (case[0], lambda case=case: whole_case(case, out)) for case in dict.fromkeys([*CASES, *FIXTURES])}
    for case in (("Bert", 1, "right", "own", None), ("Qwen3", 1, "left", "own", None)):
        parts[f"trained {case[0]}"] = ("trained", lambda case=case: trained(case, out))
    parts |= {"forms": ("forms", lambda: forms(out)), "refusals": ("refusals", lambda: refusals(out)), "labels": ("labels", lambda: labels(out))}
    sys.exit(run_parts({name: part for name, part in parts.items() if not chosen or name in chosen or part[0] in chosen}, out))


def run_parts(parts, out):
    """Runs the parts that are not in the file DONE. Returns the exit status."""
    log = os.environ.get("DONE") and pathlib.Path(os.environ["DONE"])
    done = set(log.read_text().splitlines()) if log and log.exists() else set()
    end, right = time.monotonic() + float(os.environ.get("SECONDS_LIMIT", "inf")), []
    for name, (_, part) in parts.items():
        if name in done:
            continue
        if time.monotonic() > end:
            print(f"{len(set(parts) - done)} of {len(parts)} parts are left")
            return 1 if not all(right) else 75
        found = part()
        right += found
        shutil.rmtree(out, ignore_errors=True)
        if all(found):
            done.add(name)
            if log:
                with log.open("a") as file:
                    file.write(name + "\n")
    print(f"{sum(right)} of {len(right)} steps; {len(set(parts) & done)} of {len(parts)} parts passed")
    return 0 if set(parts) <= done else 1


main()
