"""Theory on the command line: ``netfold bounds``, ``netfold theory`` and ``netfold diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from netfold.commands.options import AsJson, Example, Input, Model, Output, Save, Shape, Weights, answer, load_inputs
from netfold.errors import InvalidInputError

if TYPE_CHECKING:
    from netfold.theory import LengthGrowth, MeanField

# Commands import what they need when they run, so that --help does not wait for torch.


def bounds(
    inputs_or_model: Annotated[
        str, Parameter(help="Dimension of the input; or a model: a .pt2 file, or module:factory.")
    ],
    /,
    *widths: Annotated[int, Parameter(help="After the dimension: units of every hidden layer.")],
    activation: Annotated[
        str | None, Parameter(help="Units: relu (the default), leaky_relu, hardtanh, relu6, abs, ...")
    ] = None,
    rank: Annotated[int | None, Parameter(help="Maxout units instead, each the maximum of so many functions.")] = None,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    dimension: Annotated[
        int | None, Parameter(help="Of a model: count in so many dimensions of the input; 1 is a line.")
    ] = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Bound the number of regions of an architecture, by every theorem that applies.

    Give the dimension of the input and the units of the hidden layers, or a
    model that has them. Upper bounds hold for all weights, lower bounds say what
    some weights reach: a given network may have far fewer.

    For example:

      netfold bounds 2 10 10 10
      netfold bounds 2 4 4 --activation hardtanh --json
      netfold bounds 2 8 8 --rank 3
      netfold bounds model.pt2
      netfold bounds shop.nets:make --shape 1 28 28 --dimension 1
    """
    from netfold.capture.loading import load_model
    from netfold.theory import bounds as theorems

    inputs = _integer(inputs_or_model)
    if inputs is None:
        _refuse("a model has its own", {"WIDTHS": widths, "--activation": activation, "--rank": rank})
        found = theorems.of(
            load_model(inputs_or_model, weights, input=input, output=output, example=example),
            shape=shape,
            dimension=dimension,
        )
    elif not widths:
        raise InvalidInputError("give the units of the hidden layers too, as in 'netfold bounds 2 10 10'")
    else:
        _refuse(
            "it is for models",
            {"--weights": weights, "--shape": shape, "--dimension": dimension, "--input": input, "--output": output},
        )
        found = theorems.table(inputs, widths, activation or "relu", rank)
    if save is not None:
        found.save(save)
    answer(as_json, lambda: {"inputs": found.inputs, "widths": found.widths, **found.to_dict()}, found)


def theory(
    activation: Annotated[
        str,
        Parameter(help="relu, leaky_relu, hardtanh, tanh, gelu, silu, selu, elu, mish, hardswish, ..."),
    ],
    /,
    *,
    sigma_w: Annotated[
        float | None,
        Parameter(help="Standard deviation of a weight times sqrt(fan-in). By default the critical one."),
    ] = None,
    sigma_b: Annotated[float, Parameter(help="Standard deviation of a bias.")] = 0.0,
    depth: Annotated[int | None, Parameter(help="Also tabulate so many layers.")] = None,
    width: Annotated[int | None, Parameter(help="Units of every layer in that table; infinite by default.")] = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a random network does to signals: its phase, depth scales and growth.

    Weights are N(0, sigma_w^2 / fan-in), biases N(0, sigma_b^2). Ordered networks
    make nearby inputs merge, chaotic ones part them; between them is the critical
    gain to initialise with.

    For example:

      netfold theory relu
      netfold theory tanh --sigma-w 2.5 --sigma-b 0.3
      netfold theory hardtanh --sigma-w 4 --depth 8 --width 100
    """
    from netfold.theory import as_activation, critical_sigma_w, mean_field

    as_activation(activation)
    gain, why = float("nan"), ""
    try:
        gain = critical_sigma_w(activation, sigma_b)
    except InvalidInputError as error:
        why = str(error)
    if sigma_w is None and why:
        raise InvalidInputError(f"{why}; give --sigma-w")
    field = mean_field(activation, gain if sigma_w is None else sigma_w, sigma_b)
    if width is not None and depth is None:
        raise InvalidInputError("--width needs --depth: how many layers to tabulate")
    layers = _layers(field, depth, width) if depth is not None else []
    extra = {"growth": field.growth, "critical_sigma_w": gain, "why_no_gain": why, "layers": layers}
    words = [_with_gain(field, gain, why), *([_layer_table(layers, width)] if layers else [])]
    if save is not None:
        field.save(save)
    answer(as_json, lambda: {**field.to_dict(), **extra}, "\n".join(words))


def diagnose(
    model: Model,
    /,
    *,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    data: Annotated[
        Path | None, Parameter(help="Inputs, one a row: .npz, .npy or .safetensors. Their mean square is used.")
    ] = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Tell whether a network is ordered, critical or chaotic, from the scales of its weights.

    Prints a verdict, the gains and the growth of every layer, the depth that
    signals survive, the gain that would make it critical, and where mean-field
    theory does not hold.

    For example:

      netfold diagnose model.pt2
      netfold diagnose model.pt2 --data inputs.npy --json
      netfold diagnose shop.nets:make --shape 1 28 28
    """
    from netfold.capture.loading import load_model
    from netfold.theory.diagnose import diagnose as examine
    from netfold.theory.diagnose import typical

    point = None if data is None else typical(load_inputs(data, shape).inputs)
    found = examine(load_model(model, weights, input=input, output=output, example=example), point, shape=shape)
    if save is not None:
        found.save(save)
    answer(as_json, found.to_dict, found)


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _refuse(why: str, options: dict[str, Any]) -> None:
    """Options that do not go with what else was given."""
    given = [name for name, value in options.items() if value not in (None, ())]
    if given:
        raise InvalidInputError(f"{' and '.join(given)} cannot be given here: {why}")


def _with_gain(field: MeanField, gain: float, why: str) -> str:
    from netfold.formats import six_digits

    critical = f"- sigma_w = {six_digits(gain)} makes it critical at this sigma_b"
    return f"{field!r}\n{f'- {why}' if why else critical}"


def _layers(field: MeanField, depth: int, width: int | None) -> list[dict[str, Any]]:
    """Growth of a circle and of a line, and transitions on a quarter arc, layer by layer."""
    from netfold.theory import crossing_rate

    grown: dict[str, LengthGrowth] = {curve: _growth(field, depth, width, curve) for curve in ("circle", "line")}
    rates = crossing_rate(field.activation, field.sigma_w, field.sigma_b, depth, curve="arc")
    return [
        {
            "layer": i + 1,
            "circle_growth": float(grown["circle"].growth[i]),
            "circle_length": float(grown["circle"].lengths[i]),
            "line_growth": float(grown["line"].growth[i]),
            "arc_transitions": float(rates.transitions[i]),
            "arc_sign_transitions": float(rates.sign_transitions[i]),
            "growth_holds": str(grown["circle"].method),
        }
        for i in range(depth)
    ]


def _growth(field: MeanField, depth: int, width: int | None, curve: str) -> LengthGrowth:
    from netfold.theory import length_growth

    return length_growth(field.activation, field.sigma_w, field.sigma_b, width, depth, curve=curve)


def _layer_table(layers: list[dict[str, Any]], width: int | None) -> str:
    import pandas as pd

    from netfold.formats import table
    from netfold.theory import Method

    frame = pd.DataFrame(layers)
    frame = frame.drop(columns="growth_holds")
    holds = layers[0]["growth_holds"]
    frame.columns = ["layer", "growth, circle", "length, circle", "growth, line", "switches, arc", "sign changes, arc"]
    wide = "in the limit of wide layers"
    growth = f"at {width:,} units a layer, exact" if holds == Method.EXACT else wide
    note = f"growth of a curve's length: {growth}; switches and sign changes of a unit along a quarter arc: {wide}"
    return table("", frame, note)
