"""Layers and training on the command line: ``netfold sensitivity``, ``bit-plan`` and ``history``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from netfold.commands.options import (
    AsJson,
    Example,
    Flag,
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
    from torch import nn

    from netfold.sensitivity import BitPlan, Perturbation, Sensitivity
    from netfold.training.history import History

# Commands import what they need when they run, so that --help does not wait for torch.

Kind = Literal[
    "noise",
    "absolute-noise",
    "quantise",
    "quantize",
    "quantise-activations",
    "quantize-activations",
    "prune",
    "zero",
    "rerandomise",
    "rerandomize",
]

DEFAULTS: dict[str, float | None] = {
    "noise": 0.25,
    "absolute-noise": 0.25,
    "quantise": 4,
    "quantize": 4,
    "quantise-activations": 4,
    "quantize-activations": 4,
    "prune": 0.5,
    "zero": None,
    "rerandomise": None,
    "rerandomize": None,
}


def sensitivity(
    model: Model,
    /,
    *,
    data: Inputs,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    perturbation: Annotated[Kind, Parameter(help="What to do to one layer at a time.")] = "noise",
    strength: Annotated[
        list[float] | None,
        Parameter(
            help="How strong: standard deviation of the noise over the layer's RMS weight (or absolute), bits, or the "
            "share pruned. Several draw curves. By default 0.25, 4 bits, 0.5.",
            consume_multiple=True,
        ),
    ] = None,
    metric: Annotated[
        Literal["accuracy", "loss", "disagreement", "squared_change"] | None,
        Parameter(help="What to watch. By default accuracy, or without labels disagreement with the clean network."),
    ] = None,
    layers: Annotated[list[str] | None, Parameter(help="Module paths; all by default.", consume_multiple=True)] = None,
    repeats: Annotated[int, Parameter(help="Draws of a random perturbation.")] = 10,
    seed: Annotated[int, Parameter(help="Seed of the draws.")] = 0,
    save: Save = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Perturb one layer at a time and tell how much worse the network gets: which layers must not be touched.

    A layer on which the perturbation had no effect says so; it does not count as robust.

    For example:

      netfold sensitivity model.pt2 --data test.npz
      netfold sensitivity model.pt2 --data test.npz --perturbation quantise
      netfold sensitivity model.pt2 --data test.npz --strength 0.1 0.5 1
      netfold sensitivity shop.nets:make --weights new.safetensors --data test.npz
    """
    from netfold.capture.loading import load_model
    from netfold.sensitivity import layer_sensitivity

    if plot is not None:
        picture_kind(plot)
    rule = _rule(perturbation, strength)
    found = layer_sensitivity(
        load_model(model, weights, input=input, output=output, example=example),
        load_inputs(data, shape),
        metric,
        rule,
        repeats,
        seed,
        strengths=strength if strength and len(strength) > 1 else None,
        layers=layers,
    )
    _keep(found, save, plot)
    answer(as_json, found.to_dict, found)


def bit_plan(
    model: Model,
    /,
    *,
    data: Inputs,
    mean_bits: Annotated[
        float | None, Parameter(help="Bits a weight, on average: the least loss at this size.")
    ] = None,
    loss: Annotated[
        float | None, Parameter(help="How much worse the metric may get: the least size at this loss.")
    ] = None,
    bits: Annotated[list[int] | None, Parameter(help="Bits that a layer may get.", consume_multiple=True)] = None,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    metric: Annotated[
        Literal["accuracy", "loss", "disagreement", "squared_change"] | None,
        Parameter(help="What to lose little of. By default the loss, or without labels the output's squared change."),
    ] = None,
    per_layer: Annotated[bool, Parameter(help="One scale a layer, in place of one an output channel."), Flag] = False,
    direct: Annotated[
        int | None, Parameter(help="Layers to measure; the others go by a score. By default all.")
    ] = None,
    seconds: Annotated[float | None, Parameter(help="Begin to measure no further layer after so long.")] = None,
    layers: Annotated[list[str] | None, Parameter(help="Module paths; all by default.", consume_multiple=True)] = None,
    seed: Annotated[int, Parameter(help="Seed of the score.")] = 0,
    save: Annotated[
        Path | None, Parameter(name=["--save", "-o"], help="Also save the plan: a .json file, else netCDF.")
    ] = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Choose the bits that each layer's weights are rounded to, and measure what the whole then loses.

    For example:

      netfold bit-plan model.pt2 --data test.npz --mean-bits 4 -o plan.json
      netfold bit-plan model.pt2 --data test.npz --loss 0.01 --bits 3 4 6 8
      netfold bit-plan shop.nets:make --weights new.safetensors --data test.npz --mean-bits 4 --seconds 60
    """
    from netfold.capture.loading import load_model
    from netfold.sensitivity import bit_plan as plan

    if (mean_bits is None) == (loss is None):
        raise InvalidInputError("give one limit: --mean-bits (the size), or --loss (how much worse the metric may get)")
    if plot is not None:
        picture_kind(plot)
    found = plan(
        load_model(model, weights, input=input, output=output, example=example),
        load_inputs(data, shape),
        mean_bits,
        loss=loss,
        metric=metric,
        per_channel=not per_layer,
        direct=direct,
        seconds=seconds,
        layers=layers,
        seed=seed,
        **({} if bits is None else {"bits": bits}),  # type: ignore[arg-type]
    )
    if save is not None and save.suffix.lower() == ".json":
        found.save_json(save)
        save = None
    _keep(found, save, plot)
    answer(as_json, found.to_dict, found)


def history(
    model: Annotated[str, Parameter(help="The network: module:factory (its weights come from the checkpoints).")],
    folder: Annotated[Path, Parameter(help="Folder of checkpoints: .safetensors files, the step in their names.")],
    /,
    *,
    data: Inputs,
    pairs: Annotated[int, Parameter(help="Pairs of inputs to walk between.")] = 5,
    layer_loss: Annotated[
        bool, Parameter(name="--sensitivity", help="Also perturb one layer at a time."), Flag
    ] = False,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    seed: Annotated[int, Parameter(help="Seed of the pairs.")] = 0,
    save: Save = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Follow length, transitions and regions over the checkpoints of a training.

    For example:

      netfold history shop.nets:make checkpoints --data test.npz
      netfold history shop.nets:make checkpoints --data test.npz --sensitivity
    """
    import numpy as np

    from netfold.paths import Line
    from netfold.training import monitors

    if plot is not None:
        picture_kind(plot)
    found = load_inputs(data, shape)
    if len(found) < 2 or pairs < 1:
        raise InvalidInputError(f"{data} holds {len(found)} inputs and --pairs is {pairs}; two inputs make a pair")
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(len(found), 2, replace=False) for _ in range(pairs)]
    measures: list[Any] = [monitors.AlongPaths([Line(*found.inputs[pair]) for pair in chosen])]
    if layer_loss:
        measures.append(monitors.LayerLoss(found))
    followed = monitors.follow(_networks(model, checkpoints(folder), (input, output, example)), measures)
    _keep(followed, save, plot)
    answer(
        as_json,
        lambda: {"model": model, "folder": str(folder), **followed.to_dict()},
        lambda: followed.to_dataframe().to_string(float_format=lambda value: f"{value:.4g}"),
    )


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints of a folder by step: the last number in the name of a file, or of the folder it lies in.

    Raises:
        InvalidInputError: there is no such folder or no checkpoint in it, a name has no number, or two have the same.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"there is no folder {folder}")
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*/*.safetensors")])
    if not files:
        raise InvalidInputError(
            f"{folder} holds no .safetensors files; save checkpoints with safetensors.torch.save_file"
        )
    found: dict[int, Path] = {}
    for file in files:
        digits = re.findall(r"\d+", file.stem) or re.findall(r"\d+", file.parent.name if file.parent != folder else "")
        if not digits:
            raise InvalidInputError(f"{file} has no step in its name, as step-100.safetensors has")
        if int(digits[-1]) in found:
            raise InvalidInputError(f"{file} and {found[int(digits[-1])]} are both of step {int(digits[-1])}")
        found[int(digits[-1])] = file
    return sorted(found.items())


def _networks(
    model: str,
    files: list[tuple[int, Path]],
    ends: tuple[str | None, str | None, Path | None],
) -> Iterator[tuple[int, nn.Module]]:
    from torch import nn

    from netfold.capture.loading import load_model
    from netfold.progress import progress_bar

    input, output, example = ends
    with progress_bar(len(files), "following checkpoints", "step", None) as bar:
        for step, file in files:
            net = load_model(model, file, input=input, output=output, example=example)
            if not isinstance(net, nn.Module):
                raise InvalidInputError(f"{model}: a history needs module:factory, into which checkpoints are loaded")
            yield step, net
            bar.update()


def _rule(kind: Kind, strength: list[float] | None) -> Perturbation:
    from netfold.sensitivity import GaussianNoise, Prune, Quantise, QuantiseActivations, Rerandomise, Zero

    if DEFAULTS[kind] is None and strength:
        raise InvalidInputError(f"--perturbation {kind} has no strength; leave --strength out")
    first = strength[0] if strength else DEFAULTS[kind]
    if first is None:
        return Zero() if kind == "zero" else Rerandomise()
    if kind in ("quantise-activations", "quantize-activations"):
        return QuantiseActivations(first)  # type: ignore[arg-type]
    if kind in ("quantise", "quantize"):
        return Quantise(first)  # type: ignore[arg-type]
    if kind == "prune":
        return Prune(first)
    return GaussianNoise(first, "layer" if kind == "noise" else None)


def _keep(result: Sensitivity | BitPlan | History, save: Path | None, plot: Path | None) -> None:
    if save is not None:
        result.save(save)
    if plot is not None:
        import matplotlib as mpl

        mpl.use("Agg")
        write_picture(result.plot(), plot)
