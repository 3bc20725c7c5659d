"""`report`: measure a network between pairs of inputs and write a page about it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from netfold.arguments import FileName, Positive, PositiveInt, Seed, checked
from netfold.capture import Model
from netfold.errors import InvalidInputError
from netfold.files import write_atomically, write_groups
from netfold.formats import number
from netfold.measures.many_lines import Lines, regions_of
from netfold.plots.pages import Drawn, templates
from netfold.renamed import renamed
from netfold.reporting import planes, states
from netfold.reporting.figures import draw_all
from netfold.reporting.gather import ReportData, Story, gather
from netfold.reporting.numbers import margin_of, numbers, to_json
from netfold.reporting.sensitivity import sentence
from netfold.reporting.words import describe
from netfold.results.base import plain
from netfold.results.intervals import estimate
from netfold.results.plane_sample import PlaneSample
from netfold.results.trace_estimates import TraceEstimates
from netfold.theory import ComparedNumber

MOST_OUTPUTS = 12
"""Outputs that the interactive walk shows; of more, those that come highest anywhere on the path."""


@renamed(net="model")
@checked
def report(
    model: Model,
    data: ArrayLike | torch.Tensor,
    output: FileName = "report.html",
    *,
    initial: Model | None = None,
    labels: ArrayLike | torch.Tensor | None = None,
    pairs: PositiveInt = 40,
    seed: Seed = 0,
    story: Story | None = None,
    seconds: Positive | None = 120.0,
    progress: bool = False,
) -> ReportData:
    """Measure a network on straight lines between pairs of inputs and write a page about it.

    The page stands alone: one HTML file that needs no network and no other file. Beside it, a folder with the
    same name and the ending ``_files`` gets the figures as PNG, the numbers as ``numbers.json`` and the
    traces as ``measurements.nc`` (groups ``trained`` and ``initial``, see `Traces.load`). Every file is
    written whole or not at all, the page last.

    Any network will do. Lines of piecewise-linear ones are followed exactly where that fits in the budget, and
    estimated otherwise (`estimate_trace`); those of smooth ones are sampled, or estimated likewise. Fewer pairs are
    taken where there is no time for more, a plane that is too fine to cut is looked at on a grid, and the page says so;
    it names what it does not show, and why.

    Args:
        model: a network in evaluation mode.
        data: inputs, first axis the rows; at least two.
        output: the page to write.
        initial: the network with the weights it was initialised with, to set beside it.
        labels: the class of every input, for the accuracy.
        pairs: how many pairs of inputs to walk between.
        seed: of the choice of pairs.
        story: where network and inputs come from, in words.
        seconds: how long the measurements may take, about; ``None`` for all that was asked for, however long.
        progress: show progress bars on stderr where that is a terminal.

    Returns:
        What the page says, as numbers.

    Raises:
        InvalidInputError: the data is unusable, ``initial`` is another architecture, or the page cannot be
        there.
        CaptureError: the network cannot be captured.

    Example:
        >>> import tempfile
        >>> import netfold as nf
        >>> net = nf.random_network(inputs=5, width=8, depth=2, outputs=3, activation="relu", seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = report(net, np.eye(5), Path(folder) / "report.html", pairs=2)
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['report.html', 'report_files']
        >>> len(found.trained)
        2
    """
    target = target_of(output)
    begin = time.perf_counter()
    data_ = gather(
        model,
        data,
        initial=initial,
        labels=labels,
        pairs=pairs,
        seed=seed,
        story=story,
        seconds=seconds,
        progress=progress,
    )
    figures = draw_all(data_)
    data_ = replace(data_, seconds={**data_.seconds, "total": time.perf_counter() - begin})
    write(data_, figures, target)
    return data_


def write(data: ReportData, figures: dict[str, Drawn], target: Path) -> None:
    """Write page, figures, numbers and traces."""
    folder = files_beside(target)
    page = render(data, figures, folder.name)
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        with write_atomically(folder / f"{name}.png") as temporary:
            temporary.write_bytes(figure.png)
    with write_atomically(folder / "numbers.json") as temporary:
        temporary.write_text(to_json(numbers(data)), encoding="utf-8")
    measured = {"trained": data.trained, "initial": data.initial}
    write_groups(dict(_groups(measured)), folder / "measurements.nc")
    with write_atomically(target) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _groups(measured: Mapping[str, Lines | None]) -> Iterator[tuple[str, Any]]:
    """Data sets by group: traces together, estimates one by one (``trained/0``, ``trained/1``, ...)."""
    for name, lines in measured.items():
        if isinstance(lines, TraceEstimates):
            yield from ((f"{name}/{i}", one.to_xarray()) for i, one in enumerate(lines))
        elif lines is not None:
            yield name, lines.to_xarray()


def files_beside(page: Path) -> Path:
    """The folder for a page's figures and numbers.

    Example:
        >>> files_beside(Path("report.html")).name
        'report_files'
    """
    return page.with_name(f"{page.stem}_files")


def render(data: ReportData, figures: dict[str, Drawn], folder: str) -> str:
    """The page as one HTML text."""
    environment = templates("netfold.reporting")
    environment.filters["number"] = number
    return environment.get_template("report.html.j2").render(
        data=data,
        words=describe(data),
        sliced=planes.sentence(data.slice, data.story.inputs) if data.slice is not None else "",
        disturbed=sentence(data.sensitivity) if data.sensitivity is not None else "",
        states=states.sentence(data.states) if data.states is not None else "",
        state_rows=states.rows(data.states) if data.states is not None else [],
        figures=figures,
        cards=_cards(data),
        rows=_rows(data),
        has_growth=data.theory.growth is not None,
        has_transitions=data.theory.transitions is not None,
        has_spread=data.theory.lengths is not None and data.theory.lengths[1] is not None,
        walk=_walk(data),
        rules=data.trained[0].counting_rule.split("; "),
        when=data.provenance["time"].replace("T", " ").replace("+00:00", " UTC"),
        margin=number(margin_of(data.trained) or 0.0),
        exact=not data.estimated and data.trained[0].method == "exact",
        grid=data.slice is not None and isinstance(data.slice.trained, PlaneSample),
        folder=folder,
        files=_file_names(figures),
    )


def target_of(output: str | os.PathLike[str]) -> Path:
    """Where a page goes, if page and folder can be there.

    Raises:
        InvalidInputError: they cannot.
    """
    target = Path(output)
    if target.is_dir():
        raise InvalidInputError(f"cannot write the page {output}: a folder has this name; choose another name")
    if not target.absolute().parent.is_dir():
        raise InvalidInputError(f"cannot write {output}: the folder {target.parent} does not exist; make it first")
    beside = files_beside(target)
    if beside.exists() and not beside.is_dir():
        raise InvalidInputError(f"cannot make the folder {beside} for the figures: a file has this name")
    return target


def _cards(data: ReportData) -> list[tuple[str, str]]:
    """The four numbers at the top, each with its meaning."""
    regions = regions_of(data.trained)
    lengths = data.trained.values("length")
    transitions = data.trained.values("transitions").mean(0)
    grown = estimate(lengths[:, len(data.layers)] / lengths[:, 0], geometric=True)["mean"]
    cards = [
        (
            number(float(regions.mean())),
            f"regions crossed on the way from one {data.story.inputs} to another",
        ),
        (f"×{number(grown)}", "length of that line after the last nonlinear layer"),
    ]
    if transitions.sum() > 0:
        most = int(transitions.argmax())
        share = transitions[most] / transitions.sum()
        cards.append((f"{share:.0%}", f"of all transitions happen in {data.layers[most].label}, the most of any layer"))
    if data.accuracy is not None:
        all_ = "" if data.classified == data.points else f"{data.classified:,} of the "
        cards.append((f"{data.accuracy:.1%}", f"of {all_}{data.points:,} {data.story.inputs}s classified right"))
    return cards


def _rows(data: ReportData) -> list[dict[str, Any]]:
    """The table of layers, ready to print."""
    rows = []
    sets = {"trained": data.trained, "initial": data.initial}
    for i, layer in enumerate(data.layers):
        row: dict[str, Any] = {"number": i + 1, "name": layer.label, "op": layer.op, "units": f"{layer.units:,}"}
        for key, traces in sets.items():
            if traces is not None:
                row[f"{key}_transitions"] = _with_half_interval(traces.values("transitions")[:, i])
                growth = estimate(traces.values("growth")[:, i], geometric=True)
                row[f"{key}_growth"] = _factor(growth["mean"])
        compared = data.theory.comparison
        row["theory_transitions"], row["gap_transitions"] = _beside(compared["transitions"][i], "{:,.1f}".format)
        row["theory_growth"], row["gap_growth"] = _beside(compared["growth"][i], _factor)
        rows.append(row)
    return rows


def _beside(compared: ComparedNumber, form: Callable[[float], str]) -> tuple[str, str]:
    """A prediction, and the gap in standard errors where there is one."""
    predicted = form(compared.predicted) if np.isfinite(compared.predicted) else ""
    return predicted, f"{compared.gap:+.1f}".replace("-", "−") if np.isfinite(compared.gap) else ""


def _with_half_interval(values: NDArray[np.float64]) -> str:
    """A mean and half its interval, to the second digit of the latter."""
    found = estimate(values)
    half = (found["high"] - found["low"]) / 2
    if not half > 0:
        return number(found["mean"])
    decimals = max(0, 1 - int(np.floor(np.log10(half))))
    return f"{found['mean']:,.{decimals}f} ± {half:,.{decimals}f}"


def _factor(value: float) -> str:
    return f"×{value:.2f}" if 0.1 <= value < 100 else f"×{number(value)}"


def _walk(data: ReportData) -> dict[str, Any] | None:
    """What the interactive walk along the example path needs: vertices, outputs, pictures, classes."""
    shown = data.example
    if shown is None or shown.trace.method == "sampled":
        return None
    outputs = shown.outputs
    kept = np.sort(np.argsort(-outputs.max(0), kind="stable")[:MOST_OUTPUTS])
    names = data.story.classes or tuple(str(i) for i in range(data.outputs))
    return plain(
        {
            "t": shown.t,
            "outputs": np.array([[float(f"{v:.6g}") for v in row] for row in outputs[:, kept]]),
            "names": [names[i] for i in kept],
            "several": data.outputs > 1,
            "breakpoints": len(shown.trace.breakpoints),
            "thinned": shown.thinned,
            "image": shown.image,
            "start": [float(f"{v:.4g}") for v in shown.start.ravel()] if shown.image else [],
            "end": [float(f"{v:.4g}") for v in shown.end.ravel()] if shown.image else [],
        }
    )


def _file_names(figures: dict[str, Drawn]) -> list[str]:
    return [*(f"{name}.png" for name in figures), "numbers.json", "measurements.nc"]
