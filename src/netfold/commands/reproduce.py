"""``netfold reproduce``: the paper's figures and claims, measured again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from netfold.commands.options import AsJson, Flag, Seed
from netfold.errors import InvalidInputError, NetfoldError

if TYPE_CHECKING:
    from netfold.reproduce.figure import Settings
    from netfold.reproduce.results import DoneExperiment
    from netfold.reproduce.runner import Failure

# Commands import what they need when they run, so that --help does not wait for torch.


def reproduce(
    *figures: Annotated[str, Parameter(help="Experiments, by name or by figure of the paper; all by default.")],
    data: Annotated[
        Path | None,
        Parameter(
            help="A folder with MNIST (IDX files) or CIFAR-10 (binary batches), in place of scikit-learn's digits."
        ),
    ] = None,
    quick: Annotated[bool, Parameter(help="Small networks, a few minutes for all; the default."), Flag] = False,
    full: Annotated[bool, Parameter(help="The full scale: hours. Stop it and start it again at will."), Flag] = False,
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="The page to write.")] = Path("reproduce.html"),
    seed: Seed = 0,
    workers: Annotated[int | None, Parameter(help="Processes, by default one a core.")] = None,
    listed: Annotated[bool, Parameter(name="--list", help="Only list the experiments."), Flag] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the paper's figures again and write a page: each claim, what was measured, whether it held.

    Figures as PNG and SVG, tables and numbers.json go to a folder beside the page. What is there from a run with the
    same settings is not measured again, so a run that was stopped goes on where it was.

    For example:

      netfold reproduce
      netfold reproduce 2 "Figure 3" length-relu --seed 1
      netfold reproduce --data mnist --output mnist.html
      netfold reproduce --full --workers 8
    """
    from netfold.reproduce.runner import choose

    if quick and full:
        raise InvalidInputError("--quick and --full exclude each other; give one of them, or none for --quick")
    chosen = choose(figures)
    if listed:
        _list([(e.name, e.of_paper, e.title, e.about, e.uses_data) for e in chosen], as_json)
        return
    from joblib import cpu_count

    from netfold.arguments import PositiveInt, require
    from netfold.arguments import Seed as SeedNumber
    from netfold.files import alone_with
    from netfold.reporting.page import files_beside, target_of
    from netfold.reproduce.data import digits, read_images
    from netfold.reproduce.figure import Settings
    from netfold.reproduce.page import write_page
    from netfold.reproduce.runner import run

    target = target_of(output)
    seed = require(SeedNumber, seed, "--seed")
    count = require(PositiveInt, cpu_count() if workers is None else workers, "--workers")
    images = digits() if data is None else read_images(data)
    folder = files_beside(target)
    folder.mkdir(exist_ok=True)
    settings = Settings(not full, images, seed, folder, count, progress=True)
    results: list[DoneExperiment | Failure] = []
    try:
        with alone_with(folder):
            for result in run(chosen, settings):
                results.append(result)
                # After every experiment, so that a run that is stopped leaves a page of what is done.
                write_page(results, settings, target)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt("what is done is kept: the same command goes on from there") from stop
    _answer(results, settings, target, as_json)


def _list(rows: Sequence[tuple[str, str, str, str, bool]], as_json: bool) -> None:
    if as_json:
        from netfold.reporting.numbers import to_json

        names = ("name", "of_paper", "title", "about", "uses_data")
        print(to_json([dict(zip(names, row, strict=True)) for row in rows]), end="")
        return
    wide, wider = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
    for name, of_paper, title, _, uses_data in rows:
        print(f"{name:<{wide}}  {of_paper:<{wider}}  {title}{' (uses --data)' if uses_data else ''}")


def _answer(results: Sequence[DoneExperiment | Failure], settings: Settings, target: Path, as_json: bool) -> None:
    from netfold.reproduce.page import MARKS, numbers, tally
    from netfold.reproduce.results import DoneExperiment

    if as_json:
        from netfold.reporting.numbers import to_json

        print(to_json(numbers(results, settings)), end="")
    else:
        for result in (r for r in results if isinstance(r, DoneExperiment)):
            print(f"{result.title} ({result.of_paper})")
            for finding in result.findings:
                reading = "a misreading, not counted: " if finding.claim.misreading else ""
                print(f"  {MARKS[finding.verdict]} {finding.verdict.value}: {reading}{finding.claim.text}")
        counts = ", ".join(f"{count} {verdict.value}" for verdict, count in tally(results).items())
        print(f"{counts}. Wrote {target}, and figures and numbers to {settings.folder}.")
    broken = [result for result in results if not isinstance(result, DoneExperiment)]
    if broken:
        told = "; ".join(f"{failure.name}: {failure.message}" for failure in broken)
        raise NetfoldError(f"{len(broken)} of {len(results)} experiments could not be measured: {told}")
