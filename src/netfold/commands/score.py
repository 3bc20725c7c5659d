"""Scores on the command line: ``netfold score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

# Commands import what they need when they run, so that --help does not wait for torch.


def score(
    model: Annotated[str, Parameter(help="Model: a .pt2 file, or module:factory.")],
    /,
    *more: Annotated[str, Parameter(help="More models, to be set beside it.")],
    data: Annotated[Path, Parameter(help="Inputs x, one a row: .npz, .npy or .safetensors.")],
    lines: Annotated[int, Parameter(help="Lines between random pairs of inputs; the same for every model.")] = 16,
    seed: Annotated[int, Parameter(help="Seed of the pairs.")] = 0,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print the numbers as JSON.")] = False,
) -> None:
    """Score how expressive models are between inputs, beside their parameters and FLOPs.

    Regions, transitions and length growth on straight lines between pairs of
    inputs, without training. They describe a model at its present weights;
    whether they rank accuracies is another question (docs/ranking.md).

    For example:

      netfold score model.pt2 --data inputs.npy
      netfold score shop.nets:small shop.nets:large --data inputs.npy --lines 32 --json
    """
    from netfold.capture.loading import load_data, load_model
    from netfold.ranking import score as scored

    inputs = load_data(data).inputs
    found = {name: scored(load_model(name), inputs, lines=lines, seed=seed) for name in (model, *more)}
    if as_json:
        from netfold.reporting.numbers import to_json

        print(to_json({"models": {name: one.to_dict() for name, one in found.items()}}), end="")
        return
    for name, one in found.items():
        print(f"{name}: {one}" if more else one)
