"""What units do over a box or on data, on the command line: ``netfold units``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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


InBox = Annotated[
    tuple[float, float] | None, Parameter(help="Prove it in the box LOW <= x <= HIGH, in every entry of the input.")
]
Around = Annotated[
    float | None, Parameter(help="Prove it around the first input of --data: entries off by this much at most.")
]


def _where(box: tuple[float, float] | None, data: Path | None, around: float | None, shape: list[int] | None) -> Any:
    """A box, or inputs.

    Raises:
        InvalidInputError: there is not one place to look at.
    """
    from netfold.domains import Box

    if (box is None) == (data is None):
        raise InvalidInputError("say where to look: --box LOW HIGH or --data FILE, one of them")
    if around is not None and (data is None or not around > 0):
        raise InvalidInputError("--around takes a positive number, and the input of --data to look around")
    if data is None:
        assert box is not None
        return Box(*box)
    inputs = load_inputs(data, shape).inputs
    return inputs if around is None else Box(inputs[0] - around, inputs[0] + around)


def units(
    model: Model,
    /,
    *,
    box: InBox = None,
    data: Annotated[Inputs | None, Parameter(help="See it on inputs: .npz, .npy or .safetensors.")] = None,
    around: Around = None,
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
    from netfold.files import write_atomically
    from netfold.measures.units import units as find

    where = _where(box, data, around, shape)
    if plot is not None:
        picture_kind(plot)
    net = load_model(model, weights, input=input, output=output, example=example)
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

    width = max([5, *(len(layer.label) for layer in found.layers)]) + 1
    lines = [f"{'layer':<{width}}{'units':>8}" + "".join(f"{state:>12}" for state in STATES) + f"{'proved':>10}"]
    lines[0] += f"{'twins':>8}" + (f"{'rank':>8}" if found.ranks else "")
    for place, (number, layer) in enumerate(zip(found.numbers, found.layers, strict=True)):
        mine = found.units.layer == number
        counts = "".join(f"{(found.units.state[mine] == state).sum():>12,}" for state in range(len(STATES)))
        proved = found.units.proved[mine].mean()
        lines.append(
            f"{layer.label:<{width}}{mine.sum():>8,}{counts}{proved:>10.0%}{(found.units.twin[mine] >= 0).sum():>8,}"
        )
        lines[-1] += f"{found.ranks[place]:>8,}" if found.ranks else ""
    how = f"over a {found.where}, {'exact ranges' if found.exact else 'proven bounds'}"
    told = how if not found.ranks else f"on {found.where}"
    return "\n".join([*lines, told, f"words: {found.counting_rule}"])


def simplify(
    model: Model,
    /,
    *,
    save: Annotated[Path, Parameter(name=["--save", "-o"], help="Where the smaller network goes: a .pt2 file.")],
    box: InBox = None,
    data: Annotated[Inputs | None, Parameter(help="Inputs, of which --around takes the first.")] = None,
    around: Around = None,
    removed: Annotated[Path | None, Parameter(help="Also write the table of units that went, as .csv.")] = None,
    table: Annotated[
        Path | None, Parameter(help="Also write the smaller network's units, with proven bounds, as .csv.")
    ] = None,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    as_json: AsJson = False,
) -> None:
    """Write a smaller network that computes the same in a box, without units that are proved not to be needed there.

    Dead channels go, those that are always on pass the nonlinearity by or are merged into the next layer, equal ones
    become one. Outputs are equal in the box but for rounding, and may differ outside. The table of removed units has
    the bounds that prove it; the other one is what optimisation models of the smaller network read.

    For example:

      netfold simplify model.pt2 --box 0 1 -o small.pt2
      netfold simplify model.pt2 --data inputs.npy --around 0.01 -o small.pt2 --removed went.csv --table bounds.csv
    """
    from netfold.capture.loading import load_model
    from netfold.files import write_atomically
    from netfold.measures.simplify import simplify as smaller
    from netfold.measures.units import units as find

    where = _where(box, data, around, shape)
    if data is not None and around is None:
        raise InvalidInputError("a network is simplified in a box: --box LOW HIGH, or --data FILE with --around")
    small = smaller(load_model(model, weights, input=input, output=output, example=example), where, shape=shape)
    small.save(save)
    for file, made in (
        (removed, lambda: small.removed),
        (table, lambda: find(small, where, shape=shape).to_dataframe()),
    ):
        if file is not None:
            with write_atomically(file) as temporary:
                made().to_csv(temporary, index=False)
    answer(as_json, small.to_dict, str(small))
