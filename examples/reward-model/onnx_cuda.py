"""Write an encoder's graph for CUDA: attention and normalisation as ONNX Runtime's fused operators,
arithmetic in 16 bits.

The graph is traced, because ONNX Runtime cannot fuse the graph of the newer exporter. Inputs, the head
and the score stay in 32 bits, so that compared scores are not rounded."""

import warnings

import onnx
import torch
from onnxruntime.transformers.optimizer import optimize_model

FUSED = ("Attention", "MultiHeadAttention", "SkipLayerNormalization", "LayerNormalization", "BiasGelu", "FastGelu", "Gelu")
HEAD = ("classifier", "score")


def export(reward, pad, path):
    """Write the graph of an encoder. Returns {fused operator: count}."""
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11], [5, 6, 7, 8, pad, pad, pad]])
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    free = {0: "batch", 1: "seq"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the tracer; the comparison of scores checks the result
        torch.onnx.export(reward, (ids, mask), str(path), input_names=["input_ids", "attention_mask"], output_names=["logits"],
                          dynamic_axes={"input_ids": free, "attention_mask": free, "logits": {0: "batch"}}, opset_version=17,
                          dynamo=False)
    config = reward.model.config
    model = optimize_model(str(path), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=1)
    head = [node.name for node in model.model.graph.node if any(word in node.name for word in HEAD)]
    if not head:
        raise SystemExit(f"no node of the graph has the name of the head ({' or '.join(HEAD)}), which stays in 32 bits")
    model.convert_float_to_float16(keep_io_types=True, node_block_list=head)
    onnx.save(model.model, path)
    counts = model.get_fused_operator_statistics()
    return {name: counts[name] for name in FUSED if counts.get(name)}
