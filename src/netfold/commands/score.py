"""Scores on the command line: ``netfold score``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from netfold.commands.options import (
    AsJson,
    Example,
    Input,
    Inputs,
    Model,
    Output,
    Save,
    Shape,
    Weights,
    answer,
    load_inputs,
)
from netfold.errors import InvalidInputError

# Commands import what they need when they run, so that --help does not wait for torch.


def score(
    model: Model,
    /,
    *more: Annotated[str, Parameter(help="More models, to be set beside it.")],
    data: Inputs,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    lines: Annotated[int, Parameter(help="Lines between random pairs of inputs; the same for every model.")] = 16,
    seconds: Annotated[
        float, Parameter(help="How long the lines of a model may take, about: longer ones are estimated.")
    ] = 60.0,
    seed: Annotated[int, Parameter(help="Seed of the pairs.")] = 0,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Score how expressive models are between inputs, beside their parameters and FLOPs.

    Regions, transitions and length growth on straight lines between pairs of
    inputs, without training. They describe a model at its present weights;
    whether they rank accuracies is another question (docs/ranking.md).

    For example:

      netfold score model.pt2 --data inputs.npy
      netfold score shop.nets:small shop.nets:large --data inputs.npy --lines 32 --json
    """
    from netfold.capture.loading import load_model
    from netfold.ranking import score as scored

    if weights is not None and more:
        raise InvalidInputError("--weights belong to one model; score models with weights one at a time, or as .pt2")
    if save is not None and more:
        raise InvalidInputError("--save is for the score of one model; --json has those of several")
    inputs = load_inputs(data, shape).inputs
    found = {}
    for name in (model, *more):
        one = load_model(name, weights, input=input, output=output, example=example)
        scored(one, inputs, lines=1, seed=seed, seconds=1.0)  # compiles what the time of the score is not to hold
        found[name] = scored(one, inputs, lines=lines, seed=seed, seconds=seconds)
    if save is not None:
        found[model].save(save)
    numbers = {"models": {name: one.to_dict() for name, one in found.items()}}
    answer(as_json, numbers, "\n".join(f"{name}: {one}" if more else str(one) for name, one in found.items()))
