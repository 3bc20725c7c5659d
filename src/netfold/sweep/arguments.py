"""The settings of a cell: which there are, what they may be, and one spelling for each value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import Any

from netfold.arguments import shown
from netfold.errors import InvalidInputError
from netfold.networks import ACTIVATIONS

Settings = dict[str, Any]

PATHS = ("line", "arc", "circle")


@dataclass(frozen=True)
class Argument:
    """One setting: how a value is checked and spelled, and its default (None: it must be given)."""

    spell: Callable[[str, Any], Any]
    default: Any = None


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number that is not below ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInputError(f"{name} must be a whole number, {least} or more, got {shown(value)}")
    return int(value)


def _widths(name: str, value: Any) -> int | list[int]:
    if not isinstance(value, list | tuple):
        return whole(name, value)
    if not value:
        raise InvalidInputError(f"{name} lists no hidden layer; use width = 1, depth = 0 for a linear network")
    return [whole(f"every entry of {name}", w) for w in value]


def _number(name: str, value: Any, zero: bool = False) -> float:
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise InvalidInputError(f"{name} must be a finite number {'>= 0' if zero else '> 0'}, got {shown(value)}")
    return number + 0.0


def _choice(name: str, value: Any, known: tuple[str, ...]) -> str:
    plain = {word.replace("_", ""): word for word in known}
    wanted = value.lower().replace("-", "").replace("_", "") if isinstance(value, str) else value
    if not isinstance(wanted, str) or wanted not in plain:
        raise InvalidInputError(f"{name} must be one of {', '.join(known)}, got {shown(value)}")
    return plain[wanted]


ARGUMENTS: dict[str, Argument] = {
    "inputs": Argument(whole),
    "width": Argument(_widths),
    "depth": Argument(partial(whole, least=0)),
    "outputs": Argument(whole, 1),
    "activation": Argument(partial(_choice, known=tuple(ACTIVATIONS)), "relu"),
    "sigma_w": Argument(_number, 2**0.5),
    "sigma_b": Argument(partial(_number, zero=True), 0.0),
    "scaling": Argument(partial(_choice, known=("fan_in", "width")), "fan_in"),
    "path": Argument(partial(_choice, known=PATHS), "line"),
    "input_scale": Argument(_number, 1.0),
}
"""Those of `netfold.random_network`, the kind of path, and the root mean square of its ends' coordinates."""


def spelled(name: str, value: Any) -> Any:
    """A value in its one spelling, so that 2 and 2.0, or "Hard-tanh" and "hardtanh", are the same cell.

    Raises:
        InvalidInputError: there is no such setting, or the value is out of range.

    Example:
        >>> spelled("sigma_w", 2), spelled("activation", "Hard-Tanh"), spelled("width", (3, 4))
        (2.0, 'hardtanh', [3, 4])
    """
    if name not in ARGUMENTS:
        raise InvalidInputError(f"unknown setting {name!r}; known are {', '.join(ARGUMENTS)}")
    return ARGUMENTS[name].spell(name, value)


def complete(given: Mapping[str, Any]) -> Settings:
    """Settings with every default filled in, in the order of `ARGUMENTS`.

    Args:
        given: spelled values; a list of widths also says the depth.

    Raises:
        InvalidInputError: a setting without a default is missing, or depth and widths disagree.
    """
    found = {name: given.get(name, argument.default) for name, argument in ARGUMENTS.items()}
    width = found["width"]
    if isinstance(width, list):
        if found["depth"] not in (None, len(width)):
            raise InvalidInputError(f"width lists {len(width)} hidden layers, depth says {found['depth']}")
        found["depth"] = len(width)
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise InvalidInputError(f"the plan does not say {' and '.join(missing)}; known settings: {', '.join(found)}")
    return found
