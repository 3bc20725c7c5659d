"""The page: every claim, what was measured, and whether it held, with the figures; one file that needs no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from netfold.files import write_atomically
from netfold.plots.pages import data_uri, templates
from netfold.reporting.numbers import to_json
from netfold.reproduce.figure import Settings, Verdict
from netfold.reproduce.results import DoneExperiment
from netfold.reproduce.runner import Failure
from netfold.results.provenance import surroundings

MARKS = {Verdict.HELD: "✓", Verdict.PARTLY: "◐", Verdict.FAILED: "✕", Verdict.OPEN: "?", Verdict.UNTESTED: "–"}
"""A sign for every verdict, so that colour is not all that tells them apart."""


def write_page(results: Sequence[DoneExperiment | Failure], settings: Settings, target: Path) -> None:
    """Write the page, and beside it ``numbers.json`` in the folder with the figures; the page last.

    Args:
        results: what came of the experiments, in the order of the page.
        settings: what they were run with; ``folder`` is the one beside the page.
        target: the page.
    """
    with write_atomically(settings.folder / "numbers.json") as temporary:
        temporary.write_text(to_json(numbers(results, settings)), encoding="utf-8")
    page = render(results, settings)
    with write_atomically(target) as temporary:
        temporary.write_text(page, encoding="utf-8")


def numbers(results: Sequence[DoneExperiment | Failure], settings: Settings) -> dict[str, Any]:
    """Everything the page states, in a form any program reads."""
    done = [result for result in results if isinstance(result, DoneExperiment)]
    failed = {result.name: result.message for result in results if isinstance(result, Failure)}
    folders = {result.name: result.folder.relative_to(settings.folder).as_posix() for result in done}
    return {
        "scale": settings.scale,
        "seed": settings.seed,
        "data": {"name": settings.data.name, "source": settings.data.source},
        "verdicts": {verdict.value: count for verdict, count in tally(results).items()},
        "misreadings": {verdict.value: count for verdict, count in tally(results, misreadings=True).items()},
        "experiments": [{**result.to_dict(), "files_in": folders[result.name]} for result in done],
        "not_measured": failed,
        "provenance": surroundings(),
    }


def tally(results: Sequence[DoneExperiment | Failure], *, misreadings: bool = False) -> dict[Verdict, int]:
    """How many claims of the papers held, held in part, failed and stayed open; or of common misreadings of them."""
    findings = [finding for result in results if isinstance(result, DoneExperiment) for finding in result.findings]
    counts = Counter(found.verdict for found in findings if found.claim.misreading is misreadings)
    return {verdict: counts[verdict] for verdict in Verdict}


def render(results: Sequence[DoneExperiment | Failure], settings: Settings) -> str:
    """The page as one HTML text."""
    environment = templates("netfold.reproduce", "netfold.reporting")
    environment.filters["symbols"] = _symbols
    done = [result for result in results if isinstance(result, DoneExperiment)]
    return environment.get_template("reproduce.html.j2").render(
        done=done,
        failures=[result for result in results if isinstance(result, Failure)],
        settings=settings,
        counts=tally(results),
        marks=MARKS,
        classes={verdict: verdict.name.lower() for verdict in Verdict},
        picture=_picture,
        folder=settings.folder.name,
        where={result.name: result.folder.relative_to(settings.folder).as_posix() for result in done},
        versions=surroundings(),
        uses_data=any("data" in result.key for result in done),
        seconds=sum(result.seconds for result in done),
        compiling=sum(result.compiling for result in done),
    )


def _symbols(text: str) -> Markup:
    """Text with the indices of its symbols set as such."""
    safe = str(escape(text))
    for symbol, index in (("σ", "w"), ("σ", "b")):
        safe = safe.replace(f"{symbol}_{index}", f"{symbol}<sub>{index}</sub>")
    return Markup(safe.replace("R^m", "R<sup>m</sup>").replace("(N/n)^(mn)", "(N/n)<sup>mn</sup>"))


def _picture(result: DoneExperiment, name: str, ending: str) -> str:
    return data_uri((result.folder / f"{name}{ending}").read_bytes())
