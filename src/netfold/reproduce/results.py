"""What came of an experiment, drawn and written to a folder, where the next run finds it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from netfold.files import write_atomically, write_dataset
from netfold.plots.pages import drawn
from netfold.plots.themes import Theme
from netfold.reproduce.figure import WIDTH, Claim, Drawing, Experiment, Finding, Made, Settings, Verdict
from netfold.results.base import plain
from netfold.results.provenance import surroundings

FORM = "netfold experiment 2"
RESULT = "result.json"
ENDINGS = (".png", ".svg", ".dark.svg")


@dataclass(frozen=True)
class Shown:
    """A figure that was drawn: files NAME.png, NAME.svg (light) and NAME.dark.svg.

    Attributes:
        name: of its files.
        caption: as in `Drawing`, and ``about``.
        about: one sentence for those who cannot see it.
        size: width and height in points.
    """

    name: str
    caption: str
    about: str
    size: tuple[int, int]


@dataclass(frozen=True)
class DoneExperiment:
    """An experiment that is done.

    Attributes:
        name: of the experiment, and ``title``, ``of_paper`` as there.
        title: a few words.
        of_paper: where it comes from.
        findings: its claims and what came of them.
        figures: what was drawn.
        tables: names of the files with the numbers behind the figures.
        setting: how it was measured, and ``notes`` what else a reader should know.
        notes: in sentences.
        key: the settings it was made with.
        seconds: how long measuring took, in the run that finished it, and ``compiling`` what was compiled meanwhile.
        provenance: versions and machine.
        folder: where the files are.
    """

    name: str
    title: str
    of_paper: str
    findings: tuple[Finding, ...]
    figures: tuple[Shown, ...]
    tables: tuple[str, ...]
    setting: str
    notes: tuple[str, ...]
    key: Mapping[str, Any]
    seconds: float
    compiling: float
    provenance: Mapping[str, str]
    folder: Path = field(compare=False)

    @property
    def files(self) -> list[str]:
        """Names of all files."""
        return [*(shown.name + end for shown in self.figures for end in ENDINGS), *self.tables, RESULT]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the folder, as plain JSON."""
        found = {k: v for k, v in asdict(self).items() if k != "folder"}
        for plain_one, finding in zip(found["findings"], self.findings, strict=True):
            plain_one["verdict"] = finding.verdict.value
        return plain(found)


def key_of(experiment: Experiment, settings: Settings) -> dict[str, Any]:
    """What a result depends on: another key, another result."""
    data = {"data": settings.data.name, "digest": settings.data.digest} if experiment.uses_data else {}
    return {
        "experiment": experiment.name,
        "version": experiment.version,
        "netfold": surroundings()["netfold"],
        "scale": settings.scale,
        "seed": settings.seed,
        **data,
    }


def folder_of(experiment: Experiment, settings: Settings, root: Path) -> Path:
    """Where its files go: settings that a reader chooses between have folders of their own.

    Example:
        >>> from netfold.reproduce.data import digits
        >>> settings = Settings(quick=True, data=digits(), seed=0, folder=Path())
        >>> experiment = Experiment("noise", "", "", lambda settings: None, "", uses_data=True)
        >>> folder_of(experiment, settings, Path("files")).as_posix()
        'files/quick-seed0/noise-digits'
    """
    data = f"-{settings.data.name}" if experiment.uses_data else ""
    return root / f"{settings.scale}-seed{settings.seed}" / f"{experiment.name}{data}"


def work_in(folder: Path, key: Mapping[str, Any]) -> Path:
    """The folder for what an experiment wants to find again, for these settings; made if it is not there."""
    word = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:8]
    work = folder / f"work-{word}"
    work.mkdir(parents=True, exist_ok=True)
    return work


def write(
    experiment: Experiment, outcome: Made, key: Mapping[str, Any], seconds: float, compiling: float, folder: Path
) -> DoneExperiment:
    """Draw and write everything; the file that says so comes last, so that a stop leaves nothing that looks done."""
    (folder / RESULT).unlink(missing_ok=True)
    figures = tuple(_draw(name, drawing, folder) for name, drawing in outcome.figures.items())
    tables = tuple(_write_table(name, table, folder) for name, table in outcome.tables.items())
    result = DoneExperiment(
        experiment.name, experiment.title, experiment.of_paper, tuple(outcome.findings), figures, tables,
        outcome.setting, tuple(outcome.notes), key, seconds, compiling, surroundings(), folder,
    )  # fmt: skip
    with write_atomically(folder / RESULT) as temporary:
        text = json.dumps({"format": FORM, **result.to_dict()}, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    for old in folder.glob("work-*"):
        if old != work_in(folder, key):
            shutil.rmtree(old)
    return result


def read(folder: Path, key: Mapping[str, Any]) -> DoneExperiment | None:
    """The result in a folder; None where there is none that is whole and was made with these settings."""
    try:
        found = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        if found.pop("format") != FORM or found["key"] != key:
            return None
        findings = [
            Finding(Claim(**one["claim"]), Verdict(one["verdict"]), one["measured"], one["numbers"])
            for one in found.pop("findings")
        ]
        figures = [Shown(**{**one, "size": tuple(one["size"])}) for one in found.pop("figures")]
        tables, notes = tuple(found.pop("tables")), tuple(found.pop("notes"))
        result = DoneExperiment(
            findings=tuple(findings), figures=tuple(figures), tables=tables, notes=notes, folder=folder, **found
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Whatever is there is not a result of ours, or only a part: it is made again.
        return None
    return result if all((folder / name).is_file() for name in result.files) else None


def _draw(name: str, drawing: Drawing, folder: Path) -> Shown:
    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(WIDTH, drawing.height))
        drawing.draw(figure, theme)
        return figure

    figure = drawn(draw)
    for ending, content in zip(ENDINGS, (figure.png, figure.svg, figure.dark_svg), strict=True):
        with write_atomically(folder / f"{name}{ending}") as temporary:
            temporary.write_bytes(content)
    return Shown(name, drawing.caption, drawing.about, figure.size)


def _write_table(name: str, table: Any, folder: Path) -> str:
    if isinstance(table, pd.DataFrame):
        with write_atomically(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
        return f"{name}.csv"
    write_dataset(table, folder / f"{name}.nc")
    return f"{name}.nc"
