"""Which layers of a network may turn into integers, decided on its graph, before any format writes it.

The network turns integer, up to the choice of proposals. The classifiers' outputs stay float: scores of an integer
class map are tied, and mask logits come of products with the pixel embeddings. So do layer and group norms, whose
squares do not fit, and all that follows the choice. A card holds what is decided here; `quantize` reads it there.
"""

from maskconver_mobile.card import Role
from maskconver_mobile.converters.graph.ir import Graph
from maskconver_mobile.converters.graph.operations import Conv, Dense, Depthwise, LayerNorm, TopK, TopKCells, Unary

CLASSIFIER = "_classifier"
NETWORK = ("backbone/", "decoder/", "class_head/", "embedding_head/", "per_pixel_embeddings_head/")


def layer_roles(graph: Graph) -> dict[str, Role]:
    """By the path of a layer in the checkpoint: `integer`, `convolutions` (those alone), or only its `weights`."""
    chosen: set[int] = set()
    roles: dict[str, Role] = {}
    for node in graph.nodes:
        follows = isinstance(node.op, TopK | TopKCells) or any(id(value) in chosen for value in node.inputs)
        if follows:
            chosen.update(id(value) for value in node.outputs)
        if not node.scopes:
            continue
        layer = node.scopes[0]
        role = roles.get(layer, "integer")
        kernel = isinstance(node.op, Conv | Depthwise | Dense)
        grouped = isinstance(node.op, Unary) and node.op.kind == "sqrt"
        if layer.endswith(CLASSIFIER) or not f"{layer}/".startswith(NETWORK) or grouped or (kernel and follows):
            role = "weights"
        elif isinstance(node.op, LayerNorm) and role == "integer":
            role = "convolutions"
        roles[layer] = role
    return roles


def joined_layers(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The layers whose weights stand in another's operations, by the path of that one: operations bear it alone."""
    joined: dict[str, tuple[str, ...]] = {}
    for node in graph.nodes:
        if len(node.scopes) > 1:
            layer, *others = node.scopes
            joined[layer] = tuple(dict.fromkeys((*joined.get(layer, ()), *others)))
    return joined
