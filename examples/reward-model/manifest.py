"""Write guerdon.model.toml: the files with their hashes, the input format, the output and the
calibration."""

import hashlib
import json
from pathlib import Path

import rm_roles
from rm_text import PREFIX, SEPARATOR


def sha256(path):
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def number(value):
    """A TOML number, or a TOML string."""
    return f"{value:.3e}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def write_manifest(out, args, calibration=None, measured_on="", chat=None, pad_token=None, reference=None, output=None,
                   ignored_end=None):
    """Write the manifest of the model folder `out`.

    args: has name, about, license and max_tokens, and perhaps truncation and those of
    rm_roles.py. chat: None for the plain format, else {"bos_token": ..,
    "eos_token": ..} of a model with a chat_template.jinja. pad_token: pads the shorter texts of a batch.
    reference: the section of that name: sha256, by, storage, error, rms, errors. output: the keys of [output]
    that make one score of several labels. ignored_end: the token that is removed from the end of a text.
    """
    text = json.dumps  # a JSON string is also a TOML basic string
    lines = [f"name = {text(args.name)}", f"about = {text(args.about)}", f"license = {text(args.license)}"]
    lines += [f"precision = {text(args.precision)}"] if getattr(args, "precision", None) not in (None, "fp32") else []
    lines += ["", "[files]"]
    files = [("model", "model.onnx"), ("tokenizer", "tokenizer.json")]
    files += [("model_data", "model.onnx.data")] if (out / "model.onnx.data").exists() else []
    files += [("chat_template", "chat_template.jinja")] if chat is not None else []
    for key, name in files:
        lines += [f"{key} = {text(name)}", f"{key}_sha256 = {text(sha256(out / name))}"]
    lines += ["", "[input]", f"format = {text('plain' if chat is None else 'chat_template')}", f"max_tokens = {args.max_tokens}"]
    lines += ['truncation = "tokens"'] if getattr(args, "truncation", "messages") == "tokens" else []
    lines += rm_roles.of_arguments(args).lines() if chat is not None and hasattr(args, "same_role") else []
    lines += [f"pad_token = {text(pad_token)}"] if pad_token else []
    lines += [f"ignored_end = {text(ignored_end)}"] if ignored_end else []
    if chat is None:
        lines += [f"separator = {text(SEPARATOR)}", "", "[input.prefix]"]
        lines += [f"{role} = {text(prefix)}" for role, prefix in PREFIX.items()]
    else:
        lines += [f"{key} = {text(token)}" for key, token in chat.items() if token]
    lines += ["", "[output]", 'name = "logits"']
    lines += [f"{key} = {text(value, ensure_ascii=False)}" for key, value in (output or {}).items()]
    if reference:
        lines += ["", "[reference]"]
        lines += [f"{key} = {number(value)}" for key, value in reference.items() if key != "errors"]
        lines += ["", "[reference.errors]"] if reference.get("errors") else []
        lines += [f"{text(key)} = {number(value)}" for key, value in (reference.get("errors") or {}).items()]
    if calibration:
        lines += ["", "[calibration]", f"mean = {calibration['mean']:.6f}", f"std = {calibration['std']:.6f}",
                  f"measured_on = {text(measured_on)}"]
    part = out / ".guerdon.model.toml.part"
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(out / "guerdon.model.toml")
