"""Runs OpenRLHF's own reward server, `openrlhf/cli/serve_rm.py` of its wheel, without a GPU.

    python serve_rm.py DTYPE [ARGUMENT...]

Deepspeed and flash_attn, which need CUDA to be installed and are not called on a CPU, are replaced by stubs. With DTYPE
`float32` the weights stay in 32 bits instead of bf16; the server has no option for that. Nothing else is changed.
"""

import importlib.machinery
import runpy
import sys
import types


def stub(name, **names):
    """Registers a module that can be imported and does nothing."""
    module = types.ModuleType(name)
    module.__dict__.update(names)
    module.__path__, module.__spec__ = [], importlib.machinery.ModuleSpec(name, None)
    sys.modules[name] = module


def main():
    kind = sys.argv.pop(1)
    import torch
    import transformers.integrations

    unused = dict.fromkeys(["index_first_axis", "pad_input", "rearrange", "unpad_input", "all_gather"])
    for name in ("deepspeed", "flash_attn", "flash_attn.bert_padding", "flash_attn.utils", "flash_attn.utils.distributed"):
        stub(name, **unused)
    if kind == "float32":
        import openrlhf.utils.utils as utils

        utils.convert_to_torch_dtype = lambda _: torch.float32
    runpy.run_module("openrlhf.cli.serve_rm", run_name="__main__")


main()
