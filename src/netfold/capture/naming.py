"""Names of layers, and which weights lead to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from torch.utils import _pytree as pytree

from netfold.capture.affine import AFFINE, WEIGHTED
from netfold.capture.labels import label
from netfold.capture.operations import by_name, op_name
from netfold.capture.program import Node, Ref

Naming = Callable[[Any], str]
"""The name of the parameter or buffer that stands in an argument; empty where none does."""


def layer_names(nodes: Sequence[Node]) -> list[str]:
    """Names of nonlinearities in the order in which they are applied; those that share one are numbered.

    A torch activation module gives its path; anything else the path of its caller and the operation, for example
    ``act[1]``, ``act[2]`` where a module is called twice.
    """
    names = [_layer_name(node) for node in nodes]
    total, seen = Counter(names), Counter[str]()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if total[name] == 1 else f"{name}[{seen[name]}]")
    return result


def _layer_name(node: Node) -> str:
    op = op_name(node.schema).removesuffix("_with_indices")
    own = node.owner.startswith("torch.nn.modules.") and ".container" not in node.owner
    if own and node.path:
        return node.path
    return f"{node.path}.{op}" if node.path else op


def leading(
    nodes: Iterable[Node], ends: Collection[int], own: Callable[[Node], Iterable[str]]
) -> dict[int, tuple[str, ...]]:
    """What ``own`` finds in each node and in those before it, back to the nonlinearities ``ends`` before it."""
    found: dict[int, tuple[str, ...]] = {}
    for node in nodes:
        before = (name for i in node.inputs if i not in ends for name in found.get(i, ()))
        found[node.index] = tuple(dict.fromkeys([*before, *own(node)]))
    return found


def weights_read(node: Node, varying: Collection[int], name_of: Naming) -> list[str]:
    """The modules whose weights a product reads; the module that calls it where the weights are computed."""
    if op_name(node.schema) not in WEIGHTED:
        return []
    leaves = pytree.tree_leaves((node.args, node.kwargs))
    fixed = [leaf for leaf in leaves if hasattr(leaf, "ndim") or (isinstance(leaf, Ref) and leaf.index not in varying)]
    names = [name_of(leaf) for leaf in fixed]
    return [owner for owner in ((name.rpartition(".")[0] or name) if name else node.path for name in names) if owner]


def nonlinear(node: Node, varying: Collection[int]) -> bool:
    """Whether an operation is not affine in the point, told by its name and by which arguments depend on it."""
    named = by_name(node.schema, node.args, node.kwargs)
    dependent = [
        name
        for name, value in named.items()
        for leaf in pytree.tree_leaves(value)
        if isinstance(leaf, Ref) and leaf.index in varying
    ]
    op = op_name(node.schema)
    return node.index in varying and not (op in AFFINE and AFFINE[op](dependent))


def labels_of_weights(
    nodes: Sequence[Node], output: int, real: Collection[int], parameters: Mapping[str, int]
) -> Callable[[Iterable[str]], str]:
    """How programs label the layer to which weights belong, where parameters are nodes.

    Args:
        nodes: the operations; node 0 is the point, and ``output`` what the network returns.
        real: the nodes whose values are real numbers.
        parameters: the node of every parameter, by name.

    Returns:
        From names of parameters to the label of the first nonlinearity that they lead to (or of the output); empty
        where they lead to none.
    """
    varying = {0}
    for node in nodes:
        if not varying.isdisjoint(node.inputs):
            varying.add(node.index)
    owners = {i: name for name, i in reversed(list(parameters.items()))}
    layers = [node for node in nodes if node.index in real and nonlinear(node, varying)]
    ends = {node.index for node in layers}
    name_of: Naming = lambda leaf: owners.get(leaf.index, "") if isinstance(leaf, Ref) else ""  # noqa: E731
    shown = leading(nodes, ends, lambda node: weights_read(node, varying, name_of))
    read = leading(nodes, ends, lambda node: [owners[i] for i in node.inputs if i in owners])
    places = [
        (read[node.index], label(name, op_name(node.schema), shown[node.index]))
        for node, name in zip(layers, layer_names(layers), strict=True)
    ]
    if output in shown and output not in ends:
        places.append((read[output], label("output", "", shown[output])))

    def find(names: Iterable[str]) -> str:
        own = {owners[parameters[name]] for name in names if name in parameters}
        return next((text for there, text in places if own.intersection(there)), "")

    return find
