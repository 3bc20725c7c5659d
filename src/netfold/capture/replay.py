"""The proofs a captured program passes before anyone trusts it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netfold.capture.program import Program, Stage, Values, cut
from netfold.capture.untouched import first_tensor, outputs
from netfold.errors import CaptureError

TOLERANCE = 1e-9
"""Allowed rounding of one stage in float64, relative to its largest value."""


def compare_with_model(got: Tensor, model: nn.Module, name: str, points: Tensor, together: int) -> None:
    """The operations that were read, in the model's own number type, must give what the model gives.

    Args:
        got: what they give at ``points``.
        model: the model, and ``name`` its name.
        points: points in the model's number type.
        together: how many points the model takes at once.

    Raises:
        CaptureError: they differ.
    """
    expected = [first_tensor(outputs(model, part)) for part in points.split(together)]
    wanted = expected[0] if len(expected) == 1 else torch.cat([e.reshape(together, -1) for e in expected])
    if not close(got, wanted, points.dtype):
        raise CaptureError(
            f"the captured operations of {name} do not give what the model gives, at random points: "
            "is its forward random, stateful or dependent on the batch?"
        )


def close(got: Tensor, wanted: Tensor, dtype: torch.dtype) -> bool:
    """Whether a model's outputs are met, but for rounding in a number type."""
    tolerance = min(1e3 * torch.finfo(dtype).eps, 0.05)
    return got.numel() == wanted.numel() and _gap(got.reshape(wanted.shape), wanted) <= tolerance


def prove(program: Program, points: Tensor) -> None:
    """Every point must be treated alone, and every stage must be affine and give finite numbers.

    Each stage is checked from the values that the one before hands out, so that rounding does not add up
    along a deep network.

    Raises:
        CaptureError: they are not.
    """
    with torch.no_grad():
        values = program.start(points)
        for stage in cut(program):
            found = program.advance(stage, values)
            _prove_rows(program, stage, values, found)
            if program.piecewise_linear:
                _prove_affine(program, stage, values, found)
            values = {i: found[i] for i in stage.alive}
            if stage.layer:
                values[stage.layer.node.index] = program.activate(stage.layer, found)


def _prove_rows(program: Program, stage: Stage, values: Values, found: Values) -> None:
    """A batch gives at each point what the point gives alone, in every value that is handed out."""
    made = program.activate(stage.layer, found) if stage.layer else None
    count = len(next(iter(values.values())))
    for p in sorted({0, 1, count - 1}):
        alone = program.advance(stage, {i: value[p : p + 1] for i, value in values.items()})
        pairs = [(found[i], alone[i]) for i in found]
        if stage.layer and made is not None:
            pairs.append((made, program.activate(stage.layer, alone)))
        if any(b.shape[1:] != a.shape[1:] or _gap(b[p : p + 1], a) > TOLERANCE for b, a in pairs):
            raise CaptureError(
                f"{program.name} mixes the points of a batch on the way to {_end(stage)}: what it gives for "
                "one point depends on the others; write its forward so that every point is treated alone"
            )


def _prove_affine(program: Program, stage: Stage, values: Values, found: Values) -> None:
    """A stage maps mixtures of its live values to the same mixtures of its results."""
    wanted = _mixed(found)
    for i, value in program.advance(stage, _mixed(values)).items():
        if not bool(wanted[i].isfinite().all()):
            raise CaptureError(f"{program.name} gives NaN or infinite numbers on the way to {_end(stage)}")
        if _gap(value, wanted[i]) > TOLERANCE:
            raise CaptureError(
                f"{program.name} is not affine on the way to {_end(stage)} although its operations are "
                "known to be; please report this model"
            )


def _mixed(values: Values) -> Values:
    """Two mixtures of the first three rows of every value, one inside their triangle and one outside."""
    weights = [[0.5, 0.25, 0.25], [-0.4, 0.9, 0.5]]
    mix = torch.tensor(weights, dtype=torch.float64, device=next(iter(values.values())).device)
    return {i: torch.tensordot(mix.to(rows.dtype), rows[:3], 1) for i, rows in values.items()}


def _end(stage: Stage) -> str:
    return f"layer '{stage.layer.name}'" if stage.layer else "its output"


def _gap(got: Tensor, wanted: Tensor) -> float:
    """Largest difference relative to the largest value; NaN and infinities must be met exactly."""
    if torch.equal(got, wanted):
        return 0.0
    same = (got == wanted) | (got.isnan() & wanted.isnan())
    if bool(same.all()):
        return 0.0
    if not (got.is_floating_point() or got.is_complex()):
        return float("inf")
    finite = got.isfinite() & wanted.isfinite()
    if not bool((same | finite).all()):
        return float("inf")
    scale = max(1.0, float(wanted[finite].abs().max()))
    return float((got - wanted)[finite].abs().max()) / scale
