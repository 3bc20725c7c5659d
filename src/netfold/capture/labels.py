"""What a layer is called: one label, from the weights that lead to a nonlinearity to the nonlinearity itself."""

from __future__ import annotations

from collections.abc import Sequence


def label(name: str, op: str, follows: Sequence[str]) -> str:
    """What a reader calls a layer: the weights that lead to it, an arrow, and its name.

    Args:
        name: module path of the nonlinearity.
        op: its operation, added where the path ends in a number.
        follows: module paths of the weights; the last two are named.

    Example:
        >>> label("1", "relu", ["0"]), label("block.act", "relu", ["block.conv", "skip"]), label("output", "", ["2"])
        ('0 → 1 relu', 'block.conv, skip → block.act', '2 → output')
    """
    own = f"{name} {op}" if name.rpartition(".")[2].isdigit() else name
    more = [f"{len(follows) - 2} more"] if len(follows) > 2 else []
    return f"{', '.join([*more, *follows[-2:]])} → {own}" if follows else own
