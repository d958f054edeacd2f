"""Write a decoder reward model as a packed ONNX graph: every distinct token of a batch is computed once.

    python packed_decoder.py --checkpoint DIR --out model.onnx [--attention chunks] [--dtype float16]
        [--max-tokens 4096]

`DIR` is a Hugging Face `*ForSequenceClassification`: Llama, Mistral, Qwen2, Qwen3 or Gemma.
The linear layers run over the nodes of the batch's prefix tree, so nothing is padded and no common
beginning is computed twice. Each state is computed from the same numbers as for the text alone.
export_hf.py writes the whole model folder; this script writes the graph only.

Attention differs by device. The named files in crates/guerdon-model/src/engine list its inputs and build
them.
- `rows` (packed.rs): whole sequences, gathered from the nodes, in one fused kernel.
- `chunks` (chunks.rs), for a CPU: one query per node, with the plain kernel that is fastest there; fp32.
- `paged` (paged.rs), for CUDA: one query per node, with keys and values in blocks that sequences share;
  fp16 or bf16.

The graph is written node by node, because an exported graph has neither the fused attention nor this
layout. `build` takes any object with the methods of `packed_graph.Graph`, and needs onnx only to make
that object: `scripts/gpu` writes a graph's weights where onnx is not installed."""

import argparse

import numpy as np
import torch

MICROSOFT = "com.microsoft"
TYPES = ("float32", "float16", "bfloat16")
FAMILIES = {"llama", "mistral", "qwen2", "qwen3", "gemma"}
PADDED = "export_hf.py --layout padded writes it"
GATES = {"silu": dict(op="QuickGelu", alpha=1.0), "gelu_pytorch_tanh": dict(op="FastGelu"), "gelu": dict(op="Gelu")}


def linear(g, name, x, layers):
    """Several linear layers of one input as one product, with their biases if they have any."""
    y = g.node("MatMul", [x, g.weight(name + ".w", torch.cat([layer.weight for layer in layers]).T)], [name])
    if layers[0].bias is None:
        return y
    bias = g.weight(name + ".b", torch.cat([layer.bias for layer in layers]))
    return g.node("Add", [y, bias], [name + ".biased"])


def norm_weight(norm, family):
    # Gemma's normalisation multiplies by 1 + w.
    return norm.weight.float() + 1 if family == "gemma" else norm.weight


class Rows:
    """Attention over whole sequences: shared queries are computed once per sequence."""

    inputs = {"token_ids": ["nodes"], "gather_idx": ["batch", "longest"], "scatter_idx": ["nodes"], "seqlens_k": ["batch"],
              "total_len": [], "last_idx": ["batch"]}
    int32 = {"seqlens_k", "total_len"}

    def __init__(self, g, heads, kv_heads, size, scale, eps):
        self.shape, self.eps = (heads, kv_heads, size), eps
        self.options = dict(num_heads=heads, kv_num_heads=kv_heads, do_rotary=1, scale=scale)
        no_past(g, kv_heads, size)
        g.weight("flat", np.array([-1, heads * size]))

    def __call__(self, g, p, qkv, block):
        qkv = head_norms(g, p, qkv, block, self.shape, self.eps)
        rows = g.node("Gather", [qkv, "gather_idx"], [p + "rows"])
        attended = g.node("GroupQueryAttention", [rows, "", "", "past", "past", "seqlens_k", "total_len", "cos", "sin"],
                          [p + "attended", p + "key", p + "value"], domain=MICROSOFT, **self.options)
        return scatter(g, p, attended)


class Chunks:
    """Attention by chunks of queries of two widths; keys and queries are rotated once per node."""

    rows = ("long", "short")
    inputs = {"token_ids": ["nodes"], "position_ids": ["nodes"],
              **{f"{kind}_{name}": [f"{kind}_chunks", *width] for kind in rows for name, width in (
                  ("query_idx", [f"{kind}_queries"]), ("key_idx", [f"{kind}_keys"]), ("starts", []))},
              "scatter_idx": ["nodes"], "last_idx": ["batch"]}
    int32 = set()
    hidden = -10000.0  # added to masked scores: exp() of it is exactly 0

    def __init__(self, g, heads, kv_heads, size, scale, eps):
        self.heads, self.kv_heads, self.scale = heads, kv_heads, scale
        self.shape, self.eps = (heads, kv_heads, size), eps
        for name, value in (("axis1", [1]), ("axis2", [2]), ("widths", [heads * size, kv_heads * size, kv_heads * size]),
                            ("flat", [-1, heads * size]), ("one_head", [-1, size]), ("kv_heads", kv_heads), ("i0", 0), ("i1", 1),
                            ("kv_head", np.arange(heads)[None, :, None] // (heads // kv_heads))):
            g.weight(name, np.array(value, np.int64))
        for name, value in (("seen", 0), ("hidden", self.hidden)):
            g.weight(name, np.float32(value))
        g.node("Unsqueeze", ["position_ids", "axis1"], ["positions"])
        for kind in self.rows:
            self.see(g, kind)

    def see(self, g, kind):
        """The attention bias of each query of one kind of chunks, and the places of their keys, head by head."""
        for name in ("query_idx", "key_idx"):
            source = f"{kind}_{name}"
            size_of = g.node("Gather", [g.node("Shape", [source], [source + ".shape"]), "i1"], [source + ".width"])
            g.node("Range", ["i0", size_of, "i1"], [source + ".range"])
        starts = g.node("Unsqueeze", [f"{kind}_starts", "axis1"], [f"{kind}_starts.column"])
        place = g.node("Add", [starts, f"{kind}_query_idx.range"], [f"{kind}_place"])
        sees = g.node("LessOrEqual", [f"{kind}_key_idx.range", g.node("Unsqueeze", [place, "axis2"], [f"{kind}_place.column"])],
                      [f"{kind}_sees"])
        g.node("Unsqueeze", [g.node("Where", [sees, "seen", "hidden"], [f"{kind}_mask"]), "axis1"], [f"{kind}_bias"])
        row = g.node("Unsqueeze", [f"{kind}_key_idx", "axis1"], [f"{kind}_key_idx.row"])
        g.node("Add", [g.node("Mul", [row, "kv_heads"], [f"{kind}_first_head"]), "kv_head"], [f"{kind}_keys"])  # [chunks, heads, keys]

    def rotate(self, g, x, heads):
        # One row per node: a single row of all nodes could exceed the table of angles.
        row = g.node("Unsqueeze", [x, "axis1"], [x + ".row"])
        row = g.node("RotaryEmbedding", [row, "positions", "cos", "sin"], [x + ".rotated"], domain=MICROSOFT, num_heads=heads)
        return g.node("Squeeze", [row, "axis1"], [x + ".nodes"])

    def attend(self, g, p, kind, q, k, v):
        """Gathers keys and values, [nodes x kv heads, size], as [chunks, heads, keys, size] in one step."""
        q = g.node("Gather", [q, f"{kind}_query_idx"], [f"{p}{kind}.queries"])
        k, v = (g.node("Gather", [x, f"{kind}_keys"], [f"{p}{kind}.{name}"]) for x, name in ((k, "keys"), (v, "values")))
        attended = g.node("MultiHeadAttention", [q, k, v, "", "", f"{kind}_bias"], [f"{p}{kind}.attended"], domain=MICROSOFT,
                          num_heads=self.heads, scale=self.scale)
        return g.node("Reshape", [attended, "flat"], [f"{p}{kind}.flat"])

    def __call__(self, g, p, qkv, block):
        qkv = head_norms(g, p, qkv, block, self.shape, self.eps)
        q, k, v = p + "q.own", p + "k.own", p + "v.own"
        g.node("Split", [qkv, "widths"], [q, k, v], axis=-1)
        q = self.rotate(g, q, self.heads)
        k, v = (g.node("Reshape", [x, "one_head"], [f"{x}.list"]) for x in (self.rotate(g, k, self.kv_heads), v))
        both = [self.attend(g, p, kind, q, k, v) for kind in self.rows]
        return g.node("Gather", [g.node("Concat", both, [p + "flat"], axis=0), "scatter_idx"], [p + "states"])


class Paged:
    """Attention over blocks of a cache, which sequences with a common beginning share. Writes precede reads."""

    inputs = {"token_ids": ["nodes"], "cu_seqlens": ["ends"], "past_seqlens": ["batch"], "block_table": ["batch", "blocks"],
              "attention_metadata": [2], "last_idx": ["batch"]}
    int32 = {"cu_seqlens", "past_seqlens", "block_table", "attention_metadata"}

    def __init__(self, g, heads, kv_heads, size, scale, eps):
        self.cache = ["cache_blocks", "block_size", kv_heads, size]
        self.options = dict(num_heads=heads, kv_num_heads=kv_heads, do_rotary=1, scale=scale, qk_norm_epsilon=eps)

    def __call__(self, g, p, qkv, block):
        norms = [g.weight(f"{p}{part}.norm", getattr(block, part + "_norm").weight) for part in "qk"] if hasattr(block, "q_norm") else ["", ""]
        caches = [p + "key_cache", p + "value_cache"]
        g.caches += [(cache, self.cache) for cache in caches]
        return g.node("PagedAttention", [qkv, "", "", *caches, "cu_seqlens", "past_seqlens", "block_table", "cos", "sin", "", "",
                                         *norms, "", "", "attention_metadata"],
                      [p + "attended", *(cache + ".out" for cache in caches)], domain=MICROSOFT, **self.options)


GATE_UP = ("separate", "fused")
ATTENTION = {"rows": Rows, "chunks": Chunks, "paged": Paged}


def build(model, dtype="float32", max_tokens=4096, attention="rows", gate_up="separate", graph=None):
    """Returns the ModelProto, or what `graph.finish` returns."""
    config, trunk = model.config, model.model
    family = config.model_type
    check(config, family, attention, dtype)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    if graph is None:
        from packed_graph import Graph

        graph = Graph(dtype)
    g = graph
    eps = config.rms_norm_eps

    rope = trunk.rotary_emb
    angles = np.outer(np.arange(max_tokens), rope.inv_freq.float().numpy())
    g.weight("cos", np.cos(angles) * rope.attention_scaling)
    g.weight("sin", np.sin(angles) * rope.attention_scaling)
    attend = ATTENTION[attention](g, heads, kv_heads, size, float(trunk.layers[0].self_attn.scaling), eps)

    table = trunk.embed_tokens.weight.float()
    x = g.node("Gather", [g.weight("embed", table * (config.hidden_size**0.5 if family == "gemma" else 1)), "token_ids"], ["x"])
    first = g.weight("norm", norm_weight(trunk.layers[0].input_layernorm, family))
    h = g.node("SimplifiedLayerNormalization", [x, first], ["h"], epsilon=eps, axis=-1)
    for i, layer in enumerate(trunk.layers):
        p, block, mlp = f"layer{i}.", layer.self_attn, layer.mlp
        qkv = linear(g, p + "qkv", h, [block.q_proj, block.k_proj, block.v_proj])
        o = linear(g, p + "o", attend(g, p, qkv, block), [block.o_proj])
        after = g.weight(p + "norm", norm_weight(layer.post_attention_layernorm, family))
        g.node("SkipSimplifiedLayerNormalization", [x, o, after], [p + "m", "", "", p + "x1"], domain=MICROSOFT, epsilon=eps)
        d = linear(g, p + "down", gated(g, p, mlp, config, gate_up), [mlp.down_proj])
        following = trunk.layers[i + 1].input_layernorm if i + 1 < len(trunk.layers) else trunk.norm
        weight = g.weight(p + "next", norm_weight(following, family))
        g.node("SkipSimplifiedLayerNormalization", [p + "x1", d, weight], [p + "h", "", "", p + "x2"], domain=MICROSOFT, epsilon=eps)
        h, x = p + "h", p + "x2"
    # The head is always in 32 bits: it is one product, and rounded scores would compare badly.
    pooled = g.to_float32(g.node("Gather", [h, "last_idx"], ["pooled"]), "pooled32")
    g.node("MatMul", [pooled, g.weight("score", model.score.weight.T, exact=True)], ["logits"])
    return g.finish(attend, max_tokens, config.num_labels)


def gated(g, p, mlp, config, gate_up):
    """act(gate(x)) * up(x) of a gated MLP: two products, or one whose result is split."""
    options = dict(GATES[config.hidden_act if hasattr(config, "hidden_act") else config.hidden_activation])
    gate, up = p + "gate", p + "up"
    if gate_up == "fused":
        both = linear(g, p + "gate_up", p + "m", [mlp.gate_proj, mlp.up_proj])
        g.node("Split", [both, g.weight(p + "halves", np.array([mlp.gate_proj.out_features] * 2))], [gate, up], axis=-1)
    else:
        gate = linear(g, gate, p + "m", [mlp.gate_proj])
    active = g.node(options.pop("op"), [gate], [p + "act"], domain=MICROSOFT, **options)
    if gate_up == "separate":
        up = linear(g, up, p + "m", [mlp.up_proj])
    return g.node("Mul", [active, up], [p + "gated"])


def check(config, family, attention, dtype):
    if attention == "chunks" and dtype != "float32":
        raise SystemExit(f"attention by chunks is for a CPU, which computes it in float32 only, not in {dtype}")
    if family not in FAMILIES:
        raise SystemExit(f"packed graphs are known for {', '.join(sorted(FAMILIES))}, not `{family}`; {PADDED}")
    kinds = getattr(config, "layer_types", None) or []
    if any(kind != "full_attention" for kind in kinds) or (family == "mistral" and config.sliding_window):
        raise SystemExit(f"the model has sliding-window layers, in which a token's state is not the same for every window; {PADDED}")
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if attention == "paged" and (size % 16 or size > 256):
        raise SystemExit(f"paged attention takes heads of 16, 32, ... or 256 numbers, not {size}; write attention over rows")


def no_past(g, kv_heads, size):
    """An empty cache of the batch's size: attention starts at the beginning of every row."""
    g.weight("first", np.array([0]))
    g.weight("tail", np.array([kv_heads, 0, size]))
    g.node("Shape", ["gather_idx"], ["shape"])
    g.node("Gather", ["shape", "first"], ["rows"])
    g.node("Concat", ["rows", "tail"], ["past_shape"], axis=0)
    g.zeros("past_shape", "past")


def scatter(g, p, attended):
    """The result of attention per row of queries, as [nodes, heads x size]."""
    flat = g.node("Reshape", [attended, "flat"], [p + "flat"])
    return g.node("Gather", [flat, "scatter_idx"], [p + "states"])


def head_norms(g, p, qkv, attention, shape, eps):
    """Normalises queries and keys head by head (Qwen3), once per distinct token."""
    if not hasattr(attention, "q_norm"):
        return qkv
    heads, kv_heads, size = shape
    widths = g.weight(p + "widths", np.array([heads * size, kv_heads * size, kv_heads * size]))
    g.node("Split", [qkv, widths], [p + "q", p + "k", p + "v"], axis=-1)
    for part, count, norm in (("q", heads, attention.q_norm), ("k", kv_heads, attention.k_norm)):
        by_head = g.node("Reshape", [p + part, g.weight(p + part + ".heads", np.array([-1, count, size]))], [p + part + "3"])
        normed = g.node("SimplifiedLayerNormalization", [by_head, g.weight(p + part + ".norm", norm.weight)], [p + part + "n"],
                        epsilon=eps, axis=-1)
        g.node("Reshape", [normed, g.weight(p + part + ".flat", np.array([-1, count * size]))], [p + part + "f"])
    return g.node("Concat", [p + "qf", p + "kf", p + "v"], [p + "qkvn"], axis=-1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--dtype", choices=TYPES, default="float32")
    parser.add_argument("--attention", choices=ATTENTION, default="rows", help="chunks for a CPU; rows or paged for CUDA")
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--gate-up", choices=GATE_UP, default="separate", help="products of a gated MLP's first step")
    args = parser.parse_args()
    if args.attention == "paged" and args.dtype == "float32":
        parser.error("paged attention computes in float16 or bfloat16")
    from packed_graph import save
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(args.checkpoint, dtype=torch.float32).eval()
    save(build(model, args.dtype, args.max_tokens, args.attention, args.gate_up), args.out)


if __name__ == "__main__":
    main()
