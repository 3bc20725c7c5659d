"""On which share of a path no switch of a gate can have been missed, and how often each gate switches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.capture.program import Layer, Program
from netfold.errors import InvalidInputError
from netfold.exact.numerics.threads import look
from netfold.exact.ranges.intervals import EPS, Interval
from netfold.paths import Arc, Circle, Ellipse, Line, Path, Polyline
from netfold.progress import Budget
from netfold.sampled.enclosures import Jet, UnknownOperationError, enclosed, gated, widened
from netfold.sampled.motion import motion

STRETCHES = 2**14
"""Stretches that are enclosed at most."""

NARROWEST = 2.0**-20
"""Stretches narrower than this are not halved."""

BYTES = 2**26
"""Memory that the values of a block of stretches may take."""


class Switches(NamedTuple):
    """Switches that were found: where, of which layer, of which unit."""

    t: Floats
    stage: Ints
    unit: Ints


@dataclass(frozen=True)
class Gates:
    """Switches and certified shares; one row a layer and token, that of a whole layer first, with token -1.

    Attributes:
        layers: number of the layer, from 0.
        tokens: which of its tokens.
        switches: sign switches of its gates that were found.
        certified: share of t on which none of its gates can have switched unseen.
        share: share of t on which no gate of the network can have switched unseen.
        ended: why the certificate says nothing of some gates: an operation without an enclosure stands before them, or
            there was no time for more; empty where that is not so.
    """

    layers: Ints
    tokens: Ints
    switches: Ints
    certified: Floats
    share: float
    ended: str


def certify(
    program: Program,
    path: Path,
    found: Switches,
    ends: Floats,
    budget: Budget,
    told: Callable[[float], object] = lambda _: None,
    most: int = STRETCHES,
) -> Gates:
    """Hold the switches that were found against enclosures on short stretches.

    A gate is certified on a stretch where the enclosure of its pre-activation excludes 0 and no switch was found, or
    where that of its derivative does, so that it switches once at most, and a switch was found if and only if the signs
    at the ends differ. Stretches on which a gate is left are halved.

    Args:
        program: the captured network.
        path: a line, polyline, arc or circle.
        found: what the trace found.
        ends: increasing parameters from 0 to 1, between which are the first stretches.
        budget: after which what is left counts as not certified; a stretch evaluates the network at its two ends.
        told: called with the share of the path that is done with.
        most: how many stretches are enclosed at most.

    Raises:
        InvalidInputError: the network has no gate, or the path has no derivatives to enclose.
    """
    gates = require(program, path)
    tokens = [int(np.prod(layer.shape[:-1], dtype=np.int64)) for layer in gates.values()]
    first = np.cumsum([0, *(n + 1 for n in tokens)])
    share, whole, ended = np.zeros(first[-1]), 0.0, ""
    work = (ends[:-1], ends[1:])
    room = most
    while len(work[0]):
        again: list[NDArray[np.bool_]] = []
        for a, b in _blocks(program, *work):
            look()
            if budget.over:
                ended = f"the certificate ended early: {budget.end}"
                again.append(np.zeros(len(a), np.bool_))
                continue
            sure, end = certain(program, path, found, a, b)
            budget.spent += 2 * len(a)
            ended = ended or end
            all_ = np.stack([ok.all(1) for ok in sure.values()]).all(0)
            narrow = (b - a < 2 * NARROWEST) | (room < 2 * len(work[0]))
            split = ~all_ & ~narrow
            width = np.where(split, 0.0, b - a)
            whole += float(width @ all_)
            for at, n, ok in zip(first, tokens, sure.values(), strict=False):
                share[at] += width @ ok.all(1)
                share[at + 1 : at + 1 + n] += width @ ok.reshape(len(a), n, -1).all(2)
            again.append(split)
            told(float(width.sum()))
        room -= len(work[0])
        split = np.concatenate(again)
        a, b = work[0][split], work[1][split]
        middle = (a + b) / 2
        work = np.stack([a, middle], 1).reshape(-1), np.stack([middle, b], 1).reshape(-1)
    return Gates(
        np.repeat(list(gates), [n + 1 for n in tokens]),
        np.concatenate([np.arange(-1, n) for n in tokens]),
        np.concatenate([_counted(found, n, layer) for n, layer in gates.items()]),
        share.clip(max=1.0),
        min(whole, 1.0),
        ended,
    )


def gates_of(program: Program) -> dict[int, Layer]:
    """The layers that are gates, by number."""
    return {n: layer for n, layer in enumerate(program.layers) if gated(layer)}


def require(program: Program, path: Path) -> dict[int, Layer]:
    """The layers that are gates, by number, where they can be certified on a path.

    Raises:
        InvalidInputError: there is none, or the path has no derivatives to enclose.
    """
    if not isinstance(path, Line | Polyline | Arc | Circle | Ellipse):
        raise InvalidInputError(
            f"a {type(path).__name__} has no derivatives that could be enclosed; leave certify=False, or take a line, "
            "polyline, arc or circle"
        )
    gates = gates_of(program)
    if not gates:
        raise InvalidInputError(
            f"{program.name} has no gate (GELU, SiLU, tanh, sigmoid) whose switches could be certified where a path "
            "is sampled; leave certify=False"
        )
    return gates


def certain(
    program: Program, path: Path, found: Switches, a: Floats, b: Floats
) -> tuple[dict[int, NDArray[np.bool_]], str]:
    """Which gates are certified on disjoint stretches, in increasing order: by layer, ``(stretches, units)``.

    Also why some are not reached; empty where all are.
    """
    gates = gates_of(program)
    left, ended = set(gates), ""
    sure = {n: np.zeros((len(a), layer.units), np.bool_) for n, layer in gates.items()}
    with torch.no_grad():
        signs = [_signs(program, path, t) for t in (a, b)]
        try:
            for n, jet in enclosed(program, jets(program, path, a, b), len(a)):
                if n not in gates:
                    continue
                left.remove(n)
                clear, monotone = (((x.low > 0) | (x.high < 0)).cpu().numpy() for x in (jet.range, jet.slope))
                seen = _seen(found, n, gates[n].units, a, b)
                sure[n] = (clear & (seen == 0)) | (monotone & (seen == (signs[0][n] != signs[1][n])))
        except UnknownOperationError as error:
            first = gates[min(left)].label if left else ""
            ended = f"no enclosure of {error}, from '{first}' on no gate is certified" if left else ""
    return sure, ended


def jets(program: Program, path: Path, a: Floats, b: Floats) -> Jet:
    """A path that `require` lets pass, on stretches that hold none of its corners."""
    middle, radius = (a + b) / 2, (b - a) / 2 * (1 + 4 * EPS)
    at, speed = (torch.from_numpy(np.ascontiguousarray(x)).reshape(len(a), -1) for x in motion(path).at(middle))
    by = torch.from_numpy(radius)[:, None]
    bend, size = torch.zeros_like(at[:1]), at.abs().amax()
    if isinstance(path, Arc | Circle | Ellipse):
        form = path.ellipse
        axes = torch.from_numpy(np.abs(form.u) + np.abs(form.v)).reshape(1, -1).to(torch.float64)
        bend, size = form.angle**2 * axes, size + axes.amax() + float(np.abs(form.center).max())
    else:
        size = size + float(np.abs(path.vertices[1]).max())  # type: ignore[attr-defined]
    fast = 32 * EPS * (speed.abs() + size)
    here = widened(Interval(at, at), 32 * EPS * (size + speed.abs()))
    slope = widened(Interval(speed * by, speed * by), by * (fast + by * bend))
    far = slope.size
    return Jet(here, slope, widened(Interval(here.low - far, here.high + far)))


def _signs(program: Program, path: Path, t: Floats) -> dict[int, NDArray[np.bool_]]:
    points = torch.from_numpy(np.ascontiguousarray(motion(path).at(t)[0])).reshape(len(t), *program.input_shape)
    signs = {}
    for n, (layer, read, _) in enumerate(program.layer_inputs(points)):
        if gated(layer):
            signs[n] = (read[0] > 0).flatten(1).numpy()
    return signs


def _seen(found: Switches, layer: int, units: int, a: Floats, b: Floats) -> Ints:
    """How many switches of each unit were found in each stretch."""
    mine = found.stage == layer
    t, unit = found.t[mine], found.unit[mine]
    row = np.searchsorted(b, t)
    inside = row < len(b)
    inside[inside] = t[inside] > a[row[inside]]
    seen = np.zeros((len(a), units), np.int64)
    np.add.at(seen, (row[inside], unit[inside]), 1)
    return seen


def _counted(found: Switches, number: int, layer: Layer) -> Ints:
    """Switches of a layer, then of each of its tokens."""
    tokens = int(np.prod(layer.shape[:-1], dtype=np.int64))
    token = found.unit[found.stage == number] // (layer.units // tokens)
    return np.append(len(token), np.bincount(token, minlength=tokens))


def _blocks(program: Program, a: Floats, b: Floats) -> list[tuple[Floats, Floats]]:
    values = sum(layer.units for layer in program.layers) + int(np.prod(program.input_shape, dtype=np.int64))
    size = max(1, BYTES // (8 * 48 * values))
    return [(a[i : i + size], b[i : i + size]) for i in range(0, len(a), size)]
