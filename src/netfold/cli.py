"""The command line: the same verbs as the library."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from netfold.commands.count import check, count
from netfold.commands.options import (
    OUTPUT_HELP,
    AsJson,
    Example,
    Flag,
    Input,
    Inputs,
    Model,
    Output,
    Save,
    Seed,
    Shape,
    Weights,
    answer,
    load_inputs,
    row_of,
)
from netfold.commands.partition import partition
from netfold.commands.reproduce import reproduce
from netfold.commands.score import score
from netfold.commands.sensitivity import bit_plan, history, sensitivity
from netfold.commands.sweep import sweep
from netfold.commands.theory import bounds, diagnose, theory
from netfold.commands.units import simplify, units
from netfold.commands.warmup import warmup
from netfold.errors import InvalidInputError, NetfoldError

if TYPE_CHECKING:
    from netfold.reporting.gather import ReportData

# Commands import what they need when they run, so that --help does not wait for torch.

LONGEST = 1000
"""Characters of an error that are shown."""

app = App(
    name="netfold",
    version=lambda: version("netfold"),
    help_format="plaintext",
    default_parameter=Parameter(negative=()),
    help=(
        "Measure how expressive a neural network is: how it folds its input space.\n\n"
        "Start with `netfold report`: it trains a small network on real data and writes report.html about "
        "it. `netfold COMMAND --help` explains a command and shows examples. With -q (--quiet), anywhere, "
        "nothing but the answer is shown."
    ),
)


@app.command
def report(
    model: Model | None = None,
    /,
    *,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    part_output: Annotated[str | None, Parameter(help=OUTPUT_HELP)] = None,
    example: Example = None,
    data: Inputs | None = None,
    initial: Annotated[
        Path | None,
        Parameter(
            help="The network before training, to set beside it: a .pt2 or .onnx file, or weights for module:factory."
        ),
    ] = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The page to write.")] = Path("report.html"),
    pairs: Annotated[int, Parameter(help="Pairs of inputs to walk between.")] = 40,
    seconds: Annotated[
        float,
        Parameter(
            help="How long the measurements may take, about: what does not fit is estimated, sampled or left out."
        ),
    ] = 120.0,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Write a page about a network: how expressive it is, and which layers make it so.

    Without a model it trains a small ReLU network on scikit-learn's digits first (seconds, nothing is
    downloaded). The page is one file that needs no network; figures, numbers.json and measurements.nc go to a
    folder beside it.

    For example:

      netfold report
      netfold report model.pt2 --data inputs.npy
      netfold report shop.nets:make --weights new.safetensors --data inputs.npz
    """
    from netfold.reporting.job import report_on_digits
    from netfold.reporting.page import files_beside

    if model is None:
        _refuse_without_model(weights, data, initial, input, part_output, example)
        found = report_on_digits(output, pairs=pairs, seconds=seconds, seed=seed, progress=True)
    else:
        found = _report_on(
            model, weights, shape, (input, part_output, example), data, initial, output, pairs, seconds, seed
        )
    from netfold.reporting.numbers import numbers
    from netfold.reporting.words import describe

    written = f"Wrote {output}, and figures and numbers to {files_beside(output)}."
    answer(as_json, lambda: numbers(found), lambda: f"{describe(found).answer}\n{written}")


@app.command
def trace(
    model: Model,
    /,
    *,
    data: Inputs,
    start: Annotated[int, Parameter(name="--from", help="Row of the input where the path starts, from 0.")] = 0,
    end: Annotated[int, Parameter(name="--to", help="Row of the input where it ends.")] = 1,
    weights: Weights = None,
    shape: Shape = None,
    input: Input = None,
    output: Output = None,
    example: Example = None,
    path: Annotated[
        Literal["line", "arc", "circle"],
        Parameter(
            help="Shape of the path from x0 to x1: the line between them; the arc cos(pi t/2) x0 + sin(pi t/2) x1; or "
            "the whole circle cos(2 pi t) x0 + sin(2 pi t) x1."
        ),
    ] = "line",
    certify: Annotated[
        bool,
        Parameter(
            help="Through a piecewise-linear network: prove the counts for the stored weights, in exact "
            "arithmetic where float64 cannot. On any path through a smooth one: say on which share of it no sign "
            "switch of a GELU, SiLU, SwiGLU, tanh or sigmoid gate can be missing; half of --seconds goes to that."
        ),
        Flag,
    ] = False,
    seconds: Annotated[
        float | None,
        Parameter(
            name=["--seconds", "--budget"],
            help="How long it may take: a path that is too long to follow is then estimated, which it says.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        Parameter(
            help="Relative error of lengths where they are sampled, 1e-6 by default; with --seconds half width of the "
            "intervals of an estimate over its values, 0.05 by default."
        ),
    ] = None,
    save: Save = None,
    as_json: AsJson = False,
) -> None:
    """Trace the path between two inputs: regions, transitions and lengths, layer by layer.

    For example:

      netfold trace model.pt2 --data inputs.npy --from 0 --to 7
      netfold trace model.pt2 --data inputs.npy --path circle --save trace.nc
      netfold trace resnet.pt2 --data images.npy --seconds 120
      netfold trace vit.pt2 --data tokens.npy --input vit.layers.3 --output logits
    """
    from netfold.capture.loading import load_model
    from netfold.measures.tracing import trace_path
    from netfold.paths import Arc, Circle, Line

    inputs = load_inputs(data, shape)
    ends = [row_of(inputs, row) for row in (start, end)]
    shapes = {"line": Line, "arc": Arc, "circle": Circle}
    between = shapes[path](*ends)
    if certify and seconds is not None:
        raise InvalidInputError("a certificate takes the whole path: give either --certify or --seconds")
    limits: dict[str, Any] = {
        name: value for name, value in (("seconds", seconds), ("tolerance", tolerance)) if value is not None
    }
    net = load_model(model, weights, input=input, output=output, example=example)
    if seconds is None:
        found = trace_path(net, between, certify=certify, **limits)
    else:
        from netfold.measures.trace_estimates import estimate_trace

        estimated = estimate_trace(net, between, **limits)
        found = estimated.trace or estimated
    if save is not None:
        found.save(save)
    answer(as_json, found.to_dict, found)


for _verb in (
    partition,
    count,
    check,
    units,
    simplify,
    bounds,
    theory,
    diagnose,
    sensitivity,
    bit_plan,
    history,
    score,
):
    app.command(_verb)
app.command(sweep)
app.command(reproduce)
app.command(warmup)
app.register_install_completion_command()


def _reflow(level: App) -> None:
    """Lines of a paragraph run on, so that they are wrapped once, at the terminal's width."""
    for name in level:
        if not name.startswith("-"):
            command = level[name]
            paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
            command.help = "\n\n".join(p if p.startswith(" ") else " ".join(p.split()) for p in paragraphs)
            _reflow(command)


_reflow(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: in place of those of the process.

    Returns:
        The exit code: 0; 1 where `check` refuses a proof; 2 for bad input, with one line on stderr; 130 after Ctrl-C.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    quiet = [token for token in tokens if token in ("-q", "--quiet")]
    with _listening() as pressed:
        try:
            kept = [token for token in tokens if token not in quiet]
            command, bound, *_ = app.parse_args(kept, print_error=False, exit_on_error=False)
            works = command.__module__.startswith("netfold")  # not so help and version, which load nothing for it
            with (_silent() if quiet else _lines_in_log()) if works else nullcontext():
                status = command(*bound.args, **bound.kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who reads has seen enough. What is still to be written goes nowhere, so that Python's end is quiet too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except (NetfoldError, CycloptsError, OSError, MemoryError) as error:
            print(f"netfold: {_told(error)}", file=sys.stderr)
            return 2
        except (KeyboardInterrupt, Exception) as error:
            if not (pressed or isinstance(error, KeyboardInterrupt)):
                raise
            told = str(error) if isinstance(error, KeyboardInterrupt) else ""
            print(f"netfold: interrupted, {told or 'nothing half-written is left'}", file=sys.stderr)
            return 130
    return status if works and isinstance(status, int) else 0


def _told(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.filename and not isinstance(error, NetfoldError):
        return f"{str(error.filename)[:LONGEST]}: {error.strerror}"
    if isinstance(error, MemoryError) and not isinstance(error, NetfoldError):
        return "this machine has not enough memory for that"
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


@contextmanager
def _silent() -> Iterator[None]:
    """No bars while a command runs."""
    from netfold.progress import no_bars

    with no_bars():
        yield


@contextmanager
def _lines_in_log() -> Iterator[None]:
    """Lines in place of bars while a command runs, where stderr is a file."""
    from netfold.progress import lines_in_log

    with lines_in_log():
        yield


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Remember whether Ctrl-C was pressed: inside a compiler callback it comes out as another error."""
    pressed: list[int] = []

    def remember(signal_number: int, frame: FrameType | None) -> None:
        pressed.append(signal_number)
        sys.unraisablehook = lambda _: None
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.signal(signal.SIGINT, remember), sys.unraisablehook
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before[0])
        sys.unraisablehook = before[1]


def _refuse_without_model(*values: Path | str | None) -> None:
    names = ("--weights", "--data", "--initial", "--input", "--part-output", "--example")
    given = [name for name, value in zip(names, values, strict=True) if value]
    if given:
        raise InvalidInputError(
            f"{' and '.join(given)} given, but no model; name one first: netfold report MODEL --data FILE"
        )


def _report_on(
    model: str,
    weights: Path | None,
    shape: list[int] | None,
    ends: tuple[str | None, str | None, Path | None],
    data: Path | None,
    initial: Path | None,
    output: Path,
    pairs: int,
    seconds: float,
    seed: int,
) -> ReportData:
    from netfold.capture.loading import load_model
    from netfold.reporting.gather import Story
    from netfold.reporting.page import report as write_report

    if data is None:
        raise InvalidInputError(f"a report on {model} needs inputs to walk between: netfold report {model} --data FILE")
    part_of = partial(load_model, input=ends[0], output=ends[1], example=ends[2])
    before = None
    if initial is not None:
        whole = initial.suffix in (".pt2", ".onnx")
        before = part_of(str(initial)) if whole else part_of(model, initial)
    found = load_inputs(data, shape)
    return write_report(
        part_of(model, weights),
        found.inputs,
        output,
        initial=before,
        labels=found.labels,
        pairs=pairs,
        seconds=seconds,
        seed=seed,
        story=Story(network=model, data=data.name),
        progress=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
