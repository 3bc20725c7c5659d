"""What units do over a box or on data, on the command line: ``netfold units``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from netfold.commands.options import (
    AsJson,
    Example,
    Input,
    Inputs,
    Model,
    Output,
    Plot,
    Save,
    Shape,
    Weights,
    answer,
    load_inputs,
    picture_kind,
    write_picture,
)
from netfold.errors import InvalidInputError

if TYPE_CHECKING:
    from netfold.results.units import Units

# Commands import what they need when they run, so that --help does not wait for torch.


def units(
    model: Model,
    /,
    *,
    box: Annotated[
        tuple[float, float] | None,
        Parameter(help="Prove it in the box LOW <= x <= HIGH, in every entry of the input."),
    ] = None,
    data: Annotated[Inputs | None, Parameter(help="See it on inputs: .npz, .npy or .safetensors.")] = None,
    around: Annotated[
        float | None, Parameter(help="Prove it around the first input of --data: entries off by this much at most.")
    ] = None,
    steps: Annotated[int, Parameter(help="Steps of a gradient that narrows proven bounds.")] = 0,
    splits: Annotated[
        int, Parameter(help="Splits of the domain for a unit that stays open; best with few inputs.")
    ] = 0,
    table: Annotated[Path | None, Parameter(help="Also write the table of all units, as .csv.")] = None,
    save: Save = None,
    plot: Plot = None,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    as_json: AsJson = False,
) -> None:
    """Find units that are dead, always on or saturated: on data, or proved for all inputs of a box.

    Proofs hold in real arithmetic for the stored weights. The table gives each unit's range, its state and how that
    is known: bounds for optimisation models.

    For example:

      netfold units model.pt2 --data inputs.npy
      netfold units model.pt2 --box 0 1 --table units.csv
      netfold units model.pt2 --data inputs.npy --around 0.01 --splits 32 --plot units.png
    """
    from netfold.capture.loading import load_model
    from netfold.domains import Box
    from netfold.files import write_atomically
    from netfold.measures.units import units as find

    if (box is None) == (data is None):
        raise InvalidInputError("say where to look: --box LOW HIGH or --data FILE, one of them")
    if around is not None and (data is None or not around > 0):
        raise InvalidInputError("--around takes a positive number, and the input of --data to look around")
    if plot is not None:
        picture_kind(plot)
    net = load_model(model, weights, input=input, output=output, example=example)
    if data is None:
        assert box is not None
        where = Box(*box)
    else:
        where = load_inputs(data, shape).inputs
        if around is not None:
            where = Box(where[0] - around, where[0] + around)
    found = find(net, where, shape=shape, steps=steps, splits=splits)
    if save is not None:
        found.save(save)
    if plot is not None:
        write_picture(found.plot(), plot)
    if table is not None:
        with write_atomically(table) as temporary:
            found.to_dataframe().to_csv(temporary, index=False)
    answer(as_json, found.to_dict, lambda: _words(found))


def _words(found: Units) -> str:
    from netfold.results.units import STATES

    lines = [f"{'layer':<28}{'units':>8}" + "".join(f"{state:>12}" for state in STATES) + f"{'proved':>10}"]
    for number, layer in zip(found.numbers, found.layers, strict=True):
        mine = found.units.layer == number
        counts = "".join(f"{(found.units.state[mine] == state).sum():>12,}" for state in range(len(STATES)))
        name, proved = f"{number} {layer.label}"[:27], found.units.proved[mine].mean()
        lines.append(f"{name:<28}{mine.sum():>8,}{counts}{proved:>10.0%}")
    how = f"over a {found.where}, {'exact ranges' if found.exact else 'proven bounds'}"
    told = how if not found.ranks else f"on {found.where}; ranks of layers: {', '.join(map(str, found.ranks))}"
    return "\n".join([*lines, told, f"words: {found.counting_rule}"])
