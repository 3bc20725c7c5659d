"""What a sweep measures of a cell: names read off one trace, or a function of the user's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from netfold.capture.loading import current_directory_first
from netfold.errors import InvalidInputError
from netfold.paths import Path
from netfold.results.trace import Trace

Value = float | int | list[float] | list[int]


@dataclass(frozen=True)
class Measure:
    """A number of a trace, or one a layer.

    Attributes:
        read: takes the value off a trace.
        meaning: what it is, with its unit.
        first_layer: which layer the first number of a list belongs to: 0 is the input, 1 the first nonlinearity.
    """

    read: Callable[[Trace], Any]
    meaning: str
    first_layer: int = 1


def _by_layer(name: str) -> Callable[[Trace], list[Any]]:
    return lambda trace: [getattr(layer, name) for layer in trace.layers]


MEASURES: dict[str, Measure] = {
    "regions": Measure(lambda t: t.regions, "activation regions crossed"),
    "patterns": Measure(lambda t: t.patterns, "distinct activation patterns met"),
    "linear_pieces": Measure(lambda t: t.linear_pieces, "maximal pieces with one affine (on arcs: harmonic) output"),
    "class_changes": Measure(lambda t: len(t.output.class_changes), "changes of the largest output"),
    "input_length": Measure(lambda t: t.input_length, "Euclidean length of the path"),
    "output_length": Measure(lambda t: t.output.length, "Euclidean length of the output's image"),
    "margin": Measure(lambda t: t.margin, "closest sign decision, relative to its own scale"),
    "transitions": Measure(lambda t: t.transitions, "state switches, summed over a layer's units"),
    "sign_transitions": Measure(lambda t: t.sign_transitions, "pre-activations crossing 0, summed over units"),
    "saturation_passages": Measure(_by_layer("saturation_passages"), "passages between the saturated states"),
    "regions_by_layer": Measure(lambda t: t.regions_by_layer, "regions of the network cut off after the layer"),
    "lengths": Measure(lambda t: t.lengths, "Euclidean length of the image: input, layers, output", 0),
    "length_errors": Measure(lambda t: t.error, "estimated absolute error of each of lengths", 0),
    "growth": Measure(lambda t: t.growth, "length over the length before the layer"),
    "angular_lengths": Measure(_by_layer("angular_length"), "length of the image on the unit sphere, in radians"),
    "turning": Measure(_by_layer("turning"), "total absolute turning angle of the image, in radians"),
}
"""Measures by name."""


def check(name: Any) -> None:
    """Refuse what is neither the name of a measure nor of the form ``module:function``; nothing is imported.

    Raises:
        InvalidInputError: it is neither.
    """
    if not isinstance(name, str) or (name not in MEASURES and not _names_function(name)):
        raise InvalidInputError(f"unknown measure {name!r}; known are {', '.join(MEASURES)}, or module:function")


def _names_function(name: str) -> bool:
    module, _, function = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), function))


def require_importable(names: Iterable[str]) -> None:
    """Import the user's functions among these names, as a run does: reading a plan or a file of results never does.

    Raises:
        InvalidInputError: there is no such function.
    """
    for name in names:
        if name not in MEASURES:
            _imported(name)


def measured(name: str, network: nn.Module, path: Path, trace: Trace) -> Value:
    """The value of one measure: a number, or a list of one a layer.

    Raises:
        InvalidInputError: a user's function returned something else.
    """
    found = MEASURES[name].read(trace) if name in MEASURES else _imported(name)(network, path, trace)
    try:
        values = np.asarray(found)
        if values.dtype.kind not in "biuf" or values.ndim > 1:
            raise TypeError(f"an array of type {values.dtype} and shape {values.shape}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidInputError(f"measure {name} must return a number or a row of numbers, got {error}") from error
    return (values.astype(np.int64) if values.dtype.kind == "b" else values).tolist()


def first_layer(name: str) -> int:
    """The layer that the first number of a list belongs to."""
    return MEASURES[name].first_layer if name in MEASURES else 1


def meaning(name: str) -> str:
    """What a measure is."""
    return MEASURES[name].meaning if name in MEASURES else f"what {name} returned"


def _imported(name: str) -> Callable[[nn.Module, Path, Trace], Any]:
    module, _, attribute = name.partition(":")
    try:
        with current_directory_first():
            found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInputError(f"measure {name!r} cannot be imported: {error}") from error
    if not callable(found):
        raise InvalidInputError(f"measure {name!r} is a {type(found).__name__}, not a function")
    return found
