"""The report's section on layers: what happens when one of them is disturbed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn
from torch.export import ExportedProgram

from netfold.capture.graph import only_input
from netfold.capture.reading import home
from netfold.capture.untouched import outputs
from netfold.errors import NetfoldError
from netfold.plots import sensitivity
from netfold.plots.themes import Theme
from netfold.results.base import counted
from netfold.sensitivity import Effect, GaussianNoise, Sensitivity, layer_sensitivity

STRENGTHS = (0.1, 0.25, 0.5, 1.0)
"""Noise as a share of the layer's RMS weight."""

AT_MOST = 512
"""Inputs that are used, evenly spread over the data, so that the section costs little."""

DRAWS = 10

FEWEST, FEWEST_DRAWS, TOLERATED = 32, 3, 3.0
"""The fewest inputs and draws that are enough, and how many times as long as there is time for is still made."""

NAMED = 0.5
"""The strength that the sentences speak of."""


def disturbed(
    model: Any, points: NDArray[np.float64], labels: Any, seed: int, seconds: float | None = None
) -> Sensitivity | str:
    """Noise on one layer at a time, on a part of the data; or why that cannot be.

    Args:
        model: the network of the report.
        points: its inputs, and ``labels`` their classes or None.
        seed: of the draws.
        seconds: how long it may take: fewer inputs are taken, then fewer draws, then the noise that is spoken of alone.
    """
    if not isinstance(model, nn.Module | ExportedProgram):
        return "a captured program holds no parameters any more; give the module it came from"

    def run(count: int, draws: int, strengths: tuple[float, ...]) -> Sensitivity:
        rows = np.unique(np.linspace(0, len(points) - 1, count).astype(np.int64))
        data = points[rows] if labels is None else (points[rows], np.asarray(labels)[rows])
        return layer_sensitivity(
            model, data, None, GaussianNoise(NAMED), draws, seed, strengths=strengths, progress=False
        )

    count, draws, strengths = min(AT_MOST, len(points)), DRAWS, STRENGTHS
    try:
        if seconds is not None:
            layers = sum(p.ndim > 1 for p in model.parameters())
            # what comes before a layer is computed once: half of the network is run again on average
            each = 0.5 * _pace(model, points[:FEWEST]) * layers
            fewest, fewest_draws = min(FEWEST, count), FEWEST_DRAWS
            if each * len(strengths) * fewest * fewest_draws > seconds:
                strengths = (NAMED,)
            each *= len(strengths)
            count = int(np.clip(seconds / (each * draws), fewest, count))
            draws = int(np.clip(seconds / (each * count), fewest_draws, draws))
            if each * count * draws > TOLERATED * seconds:
                return f"it would take some {each * count * draws:.0f} seconds, and {seconds:.0f} were left for it"
        return run(count, draws, strengths)
    except NetfoldError as error:
        return " ".join(str(error).split())


def _pace(model: nn.Module | ExportedProgram, points: NDArray[np.float64]) -> float:
    """Seconds that the model takes for an input, in its own number type and in batches of a size that it takes."""
    module = model if isinstance(model, nn.Module) else model.module()
    size = None if isinstance(model, nn.Module) else only_input(model, "the exported program").meta["val"].shape[0]
    fixed = size if isinstance(size, int) else 0
    dtype, device = home(module)
    some = torch.as_tensor(np.resize(points, (fixed or len(points), *points.shape[1:])), dtype=dtype, device=device)
    outputs(module, some if fixed else some[:1])
    begin = time.perf_counter()
    outputs(module, some)
    return (time.perf_counter() - begin) / len(some)


def draw(result: Sensitivity, width: float, theme: Theme) -> Figure:
    """The metric against the noise, one line a layer."""
    figure = Figure(figsize=(width, 3.9))
    sensitivity.plot(result, figure.subplots(), theme)
    return figure


def sentence(result: Sensitivity) -> str:
    """Which layer loses most and which least, in a sentence."""
    column = result.strengths.tolist().index(NAMED)
    order = result.ranking(NAMED)
    if not order:
        return "Noise on a single layer changed no output at all, so nothing is known about how robust the layers are."
    names, called = [layer.name for layer in result.layers], {la.name: la.label for la in result.layers}
    of = "accuracy" if result.metric == "accuracy" else "agreement with the undisturbed network"
    loss = {name: max(0.0, float(result.loss[names.index(name), column])) for name in order}
    silent = int((result.effect[:, column] != Effect.MEASURED).sum())
    unknown = f" {counted(silent, 'layer')} showed no effect at all and count as unknown." if silent else ""
    if loss[order[0]] == 0.0:
        nothing = f"Noise of half the size of its weights on any layer alone costs nothing of {of}, {result.clean:.1%}."
        return nothing + unknown
    first = (
        f"Noise of half the size of its weights on layer {called[order[0]]} alone costs {loss[order[0]]:.1%} of {of}"
    )
    if len(order) == 1:
        return f"{first}."
    more = f"; on layer {called[order[-1]]}, the least sensitive of {len(order)}, {loss[order[-1]]:.1%}."
    return first + more + unknown
