"""What commands share: their options, how inputs are read, and how answers are printed and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from netfold.errors import InvalidInputError

if TYPE_CHECKING:
    from netfold.capture import Data

# Commands import what they need when they run, so that --help does not wait for torch.

Model = Annotated[
    str,
    Parameter(
        help="Model: a .pt2 file of torch.export.save, an .onnx file, or module:factory, a function that makes it."
    ),
]
Weights = Annotated[Path | None, Parameter(help="Weights for module:factory: a .safetensors file.")]
Shape = Annotated[list[int] | None, Parameter(help="Shape of one input, as in --shape 1 28 28.", consume_multiple=True)]
Input = Annotated[
    str | None,
    Parameter(help="Where a part of the model begins: an argument (inputs_embeds), or a module (encoder.layer.3)."),
]
OUTPUT_HELP = "Where a part of the model ends: a module, or a field of what the model returns (logits)."
Output = Annotated[str | None, Parameter(help=OUTPUT_HELP)]
Example = Annotated[
    Path | None,
    Parameter(
        help="With what the whole model runs where --input lies within it: .npz, .npy or .safetensors, arrays named as "
        "its arguments, with their batch axis."
    ),
]
Inputs = Annotated[
    Path, Parameter(help="Inputs x, one a row, and labels y if there are any: .npz, .npy or .safetensors.")
]
Seed = Annotated[int, Parameter(help="Seed of all random choices.")]
Save = Annotated[Path | None, Parameter(name=["--save", "-o"], help="Also save the result, as netCDF.")]
Plot = Annotated[Path | None, Parameter(help="Also draw it: a .png, .svg or .pdf file.")]
AsJson = Annotated[bool, Parameter(name="--json", help="Print the numbers as JSON.", show_default=False)]
Flag = Parameter(show_default=False)
"""For what is said or not: its default needs no words."""


def load_inputs(file: Path, shape: list[int] | None) -> Data:
    """Inputs and labels from a file, each input in the shape that the model takes.

    Raises:
        InvalidInputError: the inputs have another number of entries.
    """
    from netfold.capture.loading import load_data

    data = load_data(file)
    if shape is None:
        return data
    try:
        return replace(data, inputs=data.inputs.reshape(len(data), *shape))
    except (ValueError, OverflowError):
        told = " ".join(map(str, shape))
        raise InvalidInputError(f"--shape {told}: the inputs in {file} have shape {data.shape}") from None


def row_of(data: Data, row: int) -> Any:
    """One input.

    Raises:
        InvalidInputError: there is no such row.
    """
    if not 0 <= row < len(data):
        raise InvalidInputError(f"row {row} is not in {data.source}, which holds rows 0 to {len(data) - 1}")
    return data.inputs[row]


def answer(as_json: bool, numbers: Any, words: Any) -> None:
    """Print the numbers, or the words; each may be a function that makes them."""
    from netfold.reporting.numbers import to_json

    chosen = numbers if as_json else words
    told = chosen() if callable(chosen) else chosen
    text = told if isinstance(told, str) else repr(told)
    print(to_json(told) if as_json else f"{text}\n", end="")


def picture_kind(file: Path) -> str:
    """The kind of picture that a name asks for; asked before anything is measured.

    Raises:
        InvalidInputError: none that can be drawn.
    """
    kind = file.suffix.removeprefix(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise InvalidInputError(f"--plot {file}: a picture is a .png, .svg or .pdf file")
    return kind


def write_picture(drawn: Any, file: Path) -> None:
    """Write a figure, or the figure of axes, whole or not at all."""
    from netfold.files import write_atomically

    with write_atomically(file) as temporary:
        getattr(drawn, "figure", drawn).savefig(temporary, format=picture_kind(file), dpi=160, bbox_inches="tight")
