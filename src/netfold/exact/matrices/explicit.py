"""Reading the matrices of a program: which operations have one, and how it is told from what they only add."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from netfold.arrays import Floats
from netfold.capture.operations import SHAPE_ONLY, SHAPES, by_name, op_name
from netfold.capture.program import Node, Program
from netfold.errors import NotExplicitError
from netfold.exact.matrices.coefficients import Step, Term, fractions, objects

ROOT_BITS = 400
"""Binary digits to which a square root is taken."""


_COPIES = (
    *("clone", "contiguous", "alias", "detach", "lift_fresh_copy", "copy", "to", "_to_copy", "type_as"),
    *SHAPES,
    *("expand_as", "broadcast_to", "repeat", "repeat_interleave", "tile", "unfold", "slice", "select", "narrow"),
    *("split", "split_with_sizes", "chunk", "tensor_split", "unbind", "unsafe_split", "unsafe_chunk", "flip"),
    *("roll", "rot90", "tril", "triu", "diagonal", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d"),
    *("replication_pad3d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "im2col", "col2im"),
    *("index", "index_select", "gather", "neg", "sum", "cumsum"),
    *("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"),
)
_PRODUCTS = ("mul", "multiply", "matmul", "mm", "bmm", "mv", "inner", "outer")
_CONVOLUTIONS = (
    *("conv1d", "conv2d", "conv3d", "convolution"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
)
_MEANS = (
    *("mean", "avg_pool1d", "avg_pool2d", "avg_pool3d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d"),
)
_QUOTIENTS = ("div", "true_divide")
_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")

CONSTANTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*_COPIES, *_PRODUCTS, *_MEANS, *_QUOTIENTS), ()),
    **dict.fromkeys(("linear", *_CONVOLUTIONS), ("bias",)),
    **dict.fromkeys(("addmm", "addmv", "addbmm", "baddbmm"), ("self",)),
    **dict.fromkeys(("add", "sub", "rsub"), ("self", "other")),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack", "vstack"), ("tensors",)),
    **dict.fromkeys(("constant_pad_nd", "pad"), ("value",)),
}
"""The operations that have a matrix, with the arguments that only add a constant."""


@dataclass(frozen=True)
class ExplicitProgram:
    """A piecewise-linear program whose affine operations are matrices.

    Attributes:
        program: the program.
        steps: the affine operations before every nonlinearity, then those before the output.
        rational: whether all coefficients are rational numbers; ``why`` names the first that is not.
    """

    program: Program
    steps: tuple[tuple[Step, ...], ...]
    rational: bool
    why: str

    @staticmethod
    def of(program: Program) -> ExplicitProgram:
        """Read the matrices of a program.

        Raises:
            NotPiecewiseLinearError: the program is not piecewise linear.
            NotExplicitError: an operation has no matrix with known coefficients.
        """
        shapes = dict(_shapes(program))
        steps = tuple(tuple(_step(n, shapes) for n in stage.nodes) for stage in program.stages)
        roots = [n.describe() for stage in program.stages for n in stage.nodes if op_name(n.schema) in _NORMS]
        return ExplicitProgram(program, steps, not roots, f"{roots[0]} takes a square root" if roots else "")


def _shapes(program: Program) -> Iterator[tuple[int, tuple[int, ...]]]:
    """The shape of every value at one point.

    Raises:
        NotExplicitError: a value does not hold one row a point.
    """
    start = torch.zeros(3, *program.input_shape, dtype=torch.float64, device=program.device)
    two, three = {0: start[:2]}, {0: start}
    yield 0, program.input_shape
    for node in program.nodes:
        two[node.index], three[node.index] = node(two, 2), node(three, 3)
        a, b = tuple(two[node.index].shape), tuple(three[node.index].shape)
        if a[0] != 2 or b != (3, *a[1:]):
            raise NotExplicitError(f"{node.describe()} does not keep one row a point")
        yield node.index, a[1:]


def _step(node: Node, shapes: dict[int, tuple[int, ...]]) -> Step:
    op = op_name(node.schema)
    if op in _NORMS:
        return _normalisation(node, shapes)
    inputs = () if op in SHAPE_ONLY else node.inputs
    factors = [v for k, v in by_name(node.schema, node.args, node.kwargs).items() if k in ("alpha", "beta")]
    if inputs and (op not in CONSTANTS or any(f != 1 for f in factors)):
        raise NotExplicitError(f"{node.describe()} has no matrix that netfold can read")
    node = _on_cpu(node)
    zeros = {i: torch.zeros(1, *shapes[i], dtype=torch.float64) for i in node.inputs}
    constant = _flat(node(zeros, 1))
    bare = _changed(node, CONSTANTS.get(op, ()), torch.zeros_like, 0.0)
    sizes = _weights_changed(bare, torch.abs)
    ones = _weights_changed(bare, lambda w: (w != 0).to(w.dtype))
    if inputs and any(_flat(bare(zeros, 1)) != 0.0):
        raise NotExplicitError(f"{node.describe()} adds a constant that netfold cannot tell from its weights")
    terms, roundings = [], 4
    for i in inputs:
        count = _flat(_only(ones, i, zeros)(torch.ones(1, *shapes[i], dtype=torch.float64)))
        roundings += int(np.ceil(np.abs(count).max(initial=1.0))) if op not in _MEANS else math.prod(shapes[i])
        terms.append(Term(i, shapes[i], _only(bare, i, zeros), _magnitude(_only(sizes, i, zeros)), _true(node)))
    return Step(node, shapes[node.index], tuple(terms), fractions(constant), np.abs(constant), roundings)


def _on_cpu(node: Node) -> Node:
    def moved(leaf: Any) -> Any:
        if isinstance(leaf, torch.device):
            return torch.device("cpu")
        return leaf.cpu() if isinstance(leaf, Tensor) else leaf

    args, kwargs = pytree.tree_map(moved, (node.args, node.kwargs))
    return replace(node, args=args, kwargs=kwargs)


def _flat(value: Tensor) -> Floats:
    return value.detach().reshape(-1).numpy().astype(np.float64)


def _changed(node: Node, names: tuple[str, ...], tensor: Callable[[Tensor], Tensor], number: float) -> Node:
    """The operation with the constants in some arguments changed."""

    def change(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return tensor(leaf)
        return type(leaf)(number) if isinstance(leaf, int | float) and not isinstance(leaf, bool) else leaf

    order = [a.name for a in node.schema._schema.arguments]
    args = tuple(pytree.tree_map(change, a) if name in names else a for name, a in zip(order, node.args, strict=False))
    kwargs = {k: pytree.tree_map(change, v) if k in names else v for k, v in node.kwargs.items()}
    return replace(node, args=args, kwargs=kwargs)


def _weights_changed(node: Node, tensor: Callable[[Tensor], Tensor]) -> Node:
    """The operation with all floating-point tensors in its arguments changed."""
    args, kwargs = pytree.tree_map(
        lambda leaf: tensor(leaf) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf,
        (node.args, node.kwargs),
    )
    return replace(node, args=args, kwargs=kwargs)


def _only(node: Node, source: int, zeros: dict[int, Tensor]) -> Callable[[Tensor], Tensor]:
    """The operation as a function of one value, with zeros for the others."""

    def apply(value: Tensor) -> Tensor:
        count = len(value)
        rest = {i: z.expand(count, *z.shape[1:]) for i, z in zeros.items()}
        return node({**rest, source: value}, count)

    return apply


def _magnitude(apply: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """What weights of one sign an entry make of values that are not negative."""
    return lambda value: apply(value).abs()


def _true(node: Node) -> Callable[[float], Fraction] | None:
    """The true value of a coefficient that float64 cannot hold."""
    op, named = op_name(node.schema), by_name(node.schema, node.args, node.kwargs)
    if op in _MEANS:
        return lambda near: Fraction(1, round(1.0 / near)) if near else Fraction(0)
    if op not in _QUOTIENTS:
        return None
    divisor = named["other"]
    if isinstance(divisor, Tensor) and divisor.numel() == 1:
        divisor = float(divisor)
    if not isinstance(divisor, int | float):
        raise NotExplicitError(f"{node.describe()} divides by a tensor")
    return lambda near: 1 / Fraction(divisor)


def _normalisation(node: Node, shapes: dict[int, tuple[int, ...]]) -> Step:
    """Batch normalisation: scale and shift of every channel, with the root taken to `ROOT_BITS` digits."""
    named = by_name(node.schema, node.args, node.kwargs)
    source, shape = node.inputs[0], shapes[node.index]
    variance, mean = fractions(named["running_var"].cpu()), fractions(named["running_mean"].cpu())
    weight = fractions(named["weight"].cpu()) if named["weight"] is not None else fractions(np.ones(len(mean)))
    bias = fractions(named["bias"].cpu()) if named["bias"] is not None else fractions(np.zeros(len(mean)))
    eps = Fraction(named["eps"])
    scale = objects([w / _root(v + eps) for w, v in zip(weight, variance, strict=True)])
    repeats = math.prod(shape[1:])
    scales, shift, size = (
        np.repeat(v, repeats) for v in (scale, bias - mean * scale, np.abs(bias) + np.abs(mean * scale))
    )

    def magnitude(value: Tensor) -> Tensor:
        return value * torch.from_numpy(np.abs(scales).astype(np.float64)).reshape(shape)

    term = Term(source, shapes[source], magnitude, magnitude, scales=scales)
    return Step(_on_cpu(node), shape, (term,), shift, size.astype(np.float64), 12)


def _root(value: Fraction) -> Fraction:
    shift = 2 * ROOT_BITS
    return Fraction(math.isqrt((value.numerator << shift) // value.denominator), 1 << ROOT_BITS)
