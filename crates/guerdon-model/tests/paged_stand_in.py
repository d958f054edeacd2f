"""A stand-in for `com.microsoft.PagedAttention`, which ONNX Runtime has for CUDA only.

It has the same inputs, outputs and meaning, written in standard operators as a function of the model,
so that guerdon's block tables and caches are tested without a GPU. As the operator's description
states, the keys and values of all tokens are written into their blocks, then each token attends to the
contents of its sequence's blocks up to its own position. Later contents are ignored, including garbage:
a new cache is uninitialised memory. The stand-in does not handle sharing itself; the tests check that
two sequences may use one block.
"""

from onnx import TensorProto, helper

DOMAIN = "guerdon.stand_in"
INPUTS = ["qkv", "key_cache", "value_cache", "ends", "pasts", "table", "cos", "sin", "q_norm", "k_norm"]
# Their indices among the operator's inputs.
PLACES = [0, 3, 4, 5, 6, 7, 8, 9, 12, 13]


def stand_in(model):
    """Replaces every PagedAttention of a float32 model that normalises its heads."""
    nodes = [node for node in model.graph.node if node.op_type == "PagedAttention"]
    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in nodes[0].attribute}
    size = model.graph.input[-1].type.tensor_type.shape.dim[-1].dim_value
    for node in nodes:
        kept = [node.input[place] for place in PLACES]
        del node.input[:], node.attribute[:]
        node.input.extend(kept)
        node.domain = DOMAIN
    # Only the operator uses these bounds, to size its launches; a graph must use all of its inputs.
    model.graph.node.insert(0, helper.make_node("Identity", ["attention_metadata"], ["bounds"]))
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    model.functions.append(function(options["num_heads"], options["kv_num_heads"], size, options["scale"], options["qk_norm_epsilon"]))
    return model


def function(heads, kv_heads, size, scale, epsilon):
    nodes = []

    def node(op, *inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def number(value, kind=TensorProto.INT64):
        shape = [len(value)] if isinstance(value, list) else []
        return node("Constant", value=helper.make_tensor("c", kind, shape, value if shape else [value]))

    def real(value):
        return number(value, TensorProto.FLOAT)

    def int64(x):
        return node("Cast", x, to=TensorProto.INT64)

    def count(x, axis):
        return node("Gather", node("Shape", x), number(axis))

    def wider(x, *axes):
        return node("Unsqueeze", x, number(list(axes)))

    def upto(end):
        return node("Range", number(0), end, number(1))

    def joined(name, *inputs, op="Identity"):
        nodes.append(helper.make_node(op, inputs, [name]))

    ends, pasts, table = int64("ends"), int64("pasts"), int64("table")
    block = count("key_cache", 1)
    # The sequence of each token, its position there, and the slot of its key and value.
    token = upto(count("qkv", 0))
    over = node("LessOrEqual", wider(node("Slice", ends, number([1]), number([2**31])), 0), wider(token, 1))
    row = node("ReduceSum", int64(over), number([1]), keepdims=0)
    place = node("Add", node("Gather", pasts, row), node("Sub", token, node("Gather", ends, row)))
    blocks = node("Gather", table, row)
    number_of = node("Div", place, block)
    own = node("GatherElements", blocks, wider(number_of, 1), axis=1)
    slot = node("Add", node("Mul", own, block), wider(node("Sub", place, node("Mul", number_of, block)), 1))

    nodes.append(helper.make_node("Split", ["qkv", number([heads * size, kv_heads * size, kv_heads * size])], ["q", "k", "v"], axis=-1))
    first, middle, last = number([0]), number([size // 2]), number([size])

    def rotated(x, heads, norm):
        x = node("Reshape", x, number([-1, heads, size]))
        mean = node("ReduceMean", node("Mul", x, x), axes=[-1])
        x = node("Mul", node("Div", x, node("Sqrt", node("Add", mean, real(epsilon)))), norm)
        a, b = node("Slice", x, first, middle, number([2])), node("Slice", x, middle, last, number([2]))
        cos, sin = (wider(node("Gather", angle, place), 1) for angle in ("cos", "sin"))
        low = node("Sub", node("Mul", a, cos), node("Mul", b, sin))
        high = node("Add", node("Mul", b, cos), node("Mul", a, sin))
        return node("Concat", low, high, axis=-1)

    # Write, then read.
    by_slot = number([-1, kv_heads, size])
    keys = node("ScatterND", node("Reshape", "key_cache", by_slot), slot, rotated("k", kv_heads, "k_norm"))
    values = node("ScatterND", node("Reshape", "value_cache", by_slot), slot, node("Reshape", "v", by_slot))
    joined("key_cache.out", keys, node("Shape", "key_cache"), op="Reshape")
    joined("value_cache.out", values, node("Shape", "value_cache"), op="Reshape")
    slots = node("Add", node("Mul", wider(blocks, 2), block), upto(block))
    slots = node("Reshape", slots, number([0, -1]))

    def of_each_head(x):
        x = wider(node("Gather", x, slots), 3)
        x = node("Expand", x, number([1, 1, 1, heads // kv_heads, 1]))
        return node("Reshape", x, number([0, 0, heads, size]))

    sees = node("LessOrEqual", wider(upto(count(slots, 1)), 0), wider(place, 1))
    scores = node("Einsum", rotated("q", heads, "q_norm"), of_each_head(keys), equation="nhd,nlhd->nhl")
    scores = node("Where", wider(sees, 1), node("Mul", scores, real(scale)), real(-1e30))
    seen = node("Where", wider(sees, 2, 3), of_each_head(values), real(0.0))
    attended = node("Einsum", node("Softmax", scores, axis=-1), seen, equation="nhl,nlhd->nhd")
    joined("attended", attended, number([0, -1]), op="Reshape")
    outputs = ["attended", "key_cache.out", "value_cache.out"]
    return helper.make_function(DOMAIN, "PagedAttention", INPUTS, outputs, nodes, [helper.make_opsetid("", 17)])
