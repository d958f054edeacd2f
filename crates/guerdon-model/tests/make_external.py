"""Write tests/external/: the graph of tests/tiny with its weights in a file of their own.

    python tests/make_external.py            needs onnx

The tokenizer and the reference scores are those of tests/tiny.
"""

import hashlib
import shutil
from pathlib import Path

import onnx

TINY, OUT = Path(__file__).parent / "tiny", Path(__file__).parent / "external"


def main():
    OUT.mkdir(exist_ok=True)
    onnx.save(onnx.load(TINY / "model.onnx"), OUT / "model.onnx", save_as_external_data=True, location="model.onnx.data", size_threshold=64)
    for name in ("tokenizer.json", "reference.jsonl"):
        shutil.copy(TINY / name, OUT / name)
    digest = {name: hashlib.sha256((OUT / name).read_bytes()).hexdigest() for name in ("model.onnx", "model.onnx.data")}
    before = hashlib.sha256((TINY / "model.onnx").read_bytes()).hexdigest()
    manifest = (TINY / "guerdon.model.toml").read_text().replace("make_tiny.py", "make_external.py").replace(before, digest["model.onnx"])
    data = f'model_data = "model.onnx.data"\nmodel_data_sha256 = "{digest["model.onnx.data"]}"\n'
    (OUT / "guerdon.model.toml").write_text(manifest.replace('tokenizer = ', data + 'tokenizer = ', 1))


main()
