"""The shape of a network as the bounds read it: inputs, widths, and what its units do to a line."""

from __future__ import annotations

import enum
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from netfold.arguments import sequence, shown
from netfold.errors import InvalidInputError
from netfold.theory.bounds._bound import Kind

Choice = TypeVar("Choice", bound=enum.Enum)


@dataclass(frozen=True)
class Unit:
    """A piecewise-linear unit, as far as counting goes.

    Attributes:
        name: what messages and tables call it.
        knots: places where its slope changes; a unit cuts a cell with that many parallel hyperplanes.
        collapses: whether every piece but one is flat, so that a unit off its sloped piece takes a
            dimension from the image of its region.
    """

    name: str
    knots: int
    collapses: bool


RELU = Unit("relu", 1, collapses=True)
HARDTANH = Unit("hardtanh", 2, collapses=True)

UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        "relu": RELU,
        "leaky_relu": Unit("leaky_relu", 1, collapses=False),
        "prelu": Unit("prelu", 1, collapses=False),
        "abs": Unit("abs", 1, collapses=False),
        "hardtanh": HARDTANH,
        "relu6": Unit("relu6", 2, collapses=True),
        "hardsigmoid": Unit("hardsigmoid", 2, collapses=True),
        "softshrink": Unit("softshrink", 2, collapses=False),
    }
)


def unit_of(activation: str | Unit) -> Unit:
    """The unit that ``activation`` names.

    Raises:
        InvalidInputError: the name is unknown.
    """
    if isinstance(activation, Unit):
        return activation
    if activation not in UNITS:
        raise InvalidInputError(
            f"activation: expected one of {', '.join(UNITS)} (or a bounds.Unit with its number of knots), "
            f"got {shown(activation)}"
        )
    return UNITS[activation]


def choice(options: type[Choice], value: Any, name: str) -> Choice:
    """The member of ``options`` that ``value`` is, or names.

    Raises:
        InvalidInputError: it is none of them.
    """
    try:
        return options(value)
    except ValueError:
        names = ", ".join(repr(option.value) for option in options)
        raise InvalidInputError(f"{name}: expected one of {names}, got {shown(value)}") from None


def positive(value: Any, name: str, least: int = 1, why: str = "") -> int:
    """``value`` as an int of at least ``least``; ``why`` tells where that limit comes from.

    Raises:
        InvalidInputError: it is no integer, or too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        reason = f" ({why})" if why else ""
        raise InvalidInputError(f"{name}: expected an integer of at least {least}{reason}, got {shown(value)}")
    return number


def shape_of(inputs: Any, widths: Iterable[Any], per_input: int = 0, why: str = "") -> tuple[int, tuple[int, ...]]:
    """Input dimension and hidden widths as ints, each width at least 1 and ``per_input * inputs``.

    Raises:
        InvalidInputError: a number is no integer or too small, or there is no hidden layer.
    """
    inputs = positive(inputs, "inputs")
    try:
        listed = tuple(sequence(widths, "widths"))
    except InvalidInputError:
        raise InvalidInputError(
            f"widths: expected one width for each hidden layer, got {shown(widths)}; write widths=[...]"
        ) from None
    if not listed:
        raise InvalidInputError("widths: expected at least one hidden layer, got none")
    least = max(1, per_input * inputs)
    return inputs, tuple(positive(width, f"widths[{i}]", least, why) for i, width in enumerate(listed))


def cells(hyperplanes: int, dimension: int, knots: int = 1) -> int:
    """Most cells that ``hyperplanes`` families of ``knots`` parallel hyperplanes cut R^dimension into.

    The sum of ``knots**i * C(hyperplanes, i)`` over ``i`` up to ``dimension``.
    """
    if dimension >= hyperplanes:
        return (1 + knots) ** hyperplanes
    total, term = 1, 1
    for i in range(dimension):
        term = term * knots * (hyperplanes - i) // (i + 1)
        total += term
    return total


def upper_kind(inputs: int, widths: tuple[int, ...], unit: Unit) -> Kind:
    """Whether the sharp upper bounds are known to be reached for this shape.

    One layer reaches them in general position (Zaslavsky 1975); with one input, ReLU layers of at least
    three units do (Serra et al. 2018, Theorem 7).
    """
    line = inputs == 1 and unit == RELU and min(widths) >= 3
    return Kind.EXACT_MAXIMUM if len(widths) == 1 or line else Kind.GIVEN_NETWORK
