"""Experiments that are done are kept, whatever happens to the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from netfold.errors import InvalidInputError
from netfold.reproduce import experiments, runner
from netfold.reproduce.data import digits
from netfold.reproduce.figure import Claim, Drawing, Experiment, Finding, Made, Settings, Verdict
from netfold.reproduce.page import write_page
from netfold.reproduce.results import RESULT, DoneExperiment, folder_of, key_of, read
from netfold.reproduce.runner import Failure


def made(value: float = 1.0) -> Made:
    claim = Claim("1 < 2 & σ_w", "nobody", "always")
    numbers = {"value": value, "missing": float("nan")}
    return Made(
        (Finding(claim, Verdict.graded(value, 1.0, 0.5), f"It is {value:g}.", numbers),),
        {
            "line": Drawing(
                lambda figure, theme: figure.subplots().plot([0, value], color=theme.main), "A <line>.", "Up.", 1
            )
        },
        {"points": pd.DataFrame({"y": [0.0, value]})},
        "Nothing was measured.",
        ("A note.",),
    )


class Counted:
    """An experiment's function that counts its runs."""

    def __init__(self, what: Callable[[], Made] = made) -> None:
        self.what, self.runs, self.folders = what, 0, list[Path]()

    def __call__(self, settings: Settings) -> Made:
        self.runs += 1
        self.folders.append(settings.folder)
        return self.what()


def experiment(name: str, run: Counted, **more: bool | int) -> Experiment:
    return Experiment(name, f"Title of {name}", "Figure 99", run, "about", **more)  # type: ignore[arg-type]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "page_files"
    folder.mkdir()
    return Settings(quick=True, data=digits(), seed=0, folder=folder)


def go(chosen: list[Experiment], settings: Settings) -> list[DoneExperiment | Failure]:
    return list(runner.run(chosen, settings))


def test_done_is_kept_and_equal(settings: Settings) -> None:
    """The second run measures nothing and reads the same."""
    run = Counted()
    [first], [second] = (go([experiment("one", run)], settings) for _ in range(2))
    assert run.runs == 1
    assert isinstance(first, DoneExperiment)
    assert isinstance(second, DoneExperiment)
    assert second.to_dict() == first.to_dict()
    assert second.findings[0].verdict is Verdict.HELD
    assert all((second.folder / name).stat().st_size for name in second.files)
    assert run.folders[0].is_dir()


@pytest.mark.parametrize("other", [{"seed": 1}, {"quick": False}])
def test_other_settings_are_measured_beside(settings: Settings, other: dict[str, int]) -> None:
    """And those before are still there."""
    run = Counted()
    one = experiment("one", run)
    changed = replace(settings, **other)
    go([one], settings)
    go([one], changed)
    go([one], settings)
    assert run.runs == 2
    assert folder_of(one, settings, settings.folder) != folder_of(one, changed, settings.folder)


def test_only_experiments_with_data_depend_on_it(settings: Settings) -> None:
    """By its content, not by its name alone."""
    free, bound = Counted(), Counted()
    chosen = [experiment("free", free), experiment("bound", bound, uses_data=True)]
    go(chosen, settings)
    dimmed = replace(settings.data, train=settings.data.train * 0.5)
    go(chosen, replace(settings, data=dimmed))
    assert (free.runs, bound.runs) == (1, 2)


def test_a_new_version_measures_again(settings: Settings) -> None:
    """And what the old one had left to find again is removed."""
    run = Counted()
    go([experiment("one", run)], settings)
    go([experiment("one", run, version=2)], settings)
    assert run.runs == 2
    assert run.folders[0] != run.folders[1]
    assert not run.folders[0].exists()


@pytest.mark.parametrize("damage", ["missing figure", "half a file", "other format", "no file"])
def test_what_is_damaged_is_made_again(settings: Settings, damage: str) -> None:
    """Never half believed."""
    run = Counted()
    one = experiment("one", run)
    [first] = go([one], settings)
    assert isinstance(first, DoneExperiment)
    stored = first.folder / RESULT
    if damage == "missing figure":
        (first.folder / "line.svg").unlink()
    elif damage == "half a file":
        stored.write_text(stored.read_text()[:200])
    elif damage == "other format":
        stored.write_text(json.dumps({**json.loads(stored.read_text()), "format": "another"}))
    else:
        stored.unlink()
    assert read(first.folder, key_of(one, settings)) is None
    go([one], settings)
    assert run.runs == 2


def test_interrupted_between_two(settings: Settings) -> None:
    """What was done is kept, what was under way is not taken for done, and finds its folder again."""

    def stopped() -> Made:
        if second.runs == 1:
            raise KeyboardInterrupt
        return made()

    first, second = Counted(), Counted(stopped)
    chosen = [experiment("first", first), experiment("second", second)]
    with pytest.raises(KeyboardInterrupt):
        go(chosen, settings)
    found = go(chosen, settings)
    assert (first.runs, second.runs) == (1, 2)
    assert second.folders[0] == second.folders[1]
    assert all(isinstance(result, DoneExperiment) for result in found)


def test_interrupted_inside_a_compiler(settings: Settings) -> None:
    """Ctrl-C that comes out as another error is no failure of the experiment."""

    def stopped() -> Made:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    with pytest.raises(SystemError):
        go([experiment("one", Counted(stopped))], settings)


def test_a_failure_stops_no_other(settings: Settings) -> None:
    """It is named, not stored, and tried again."""

    def fails() -> Made:
        raise ValueError("out of\n luck")

    bad = Counted(fails)
    chosen = [experiment("bad", bad), experiment("good", Counted())]
    for _ in range(2):
        failure, result = go(chosen, settings)
        assert isinstance(failure, Failure)
        assert failure.message == "ValueError: out of luck"
        assert isinstance(result, DoneExperiment)
    assert bad.runs == 2


def test_the_page_stands_alone(settings: Settings, tmp_path: Path) -> None:
    """Claims, rules, measurements and verdicts, escaped; figures inside; no address that a browser would fetch."""
    results = [*go([experiment("one", Counted())], settings), Failure("bad", "Bad", "Figure 98", "ValueError: <no>")]
    target = tmp_path / "page.html"
    write_page(results, settings, target)
    page = target.read_text(encoding="utf-8")
    for text in (
        "1 &lt; 2 &amp; σ<sub>w</sub>",
        "It is 1.",
        "always",
        "A &lt;line&gt;.",
        "ValueError: &lt;no&gt;",
        "held",
    ):
        assert text in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "http" not in page
    numbers = json.loads((settings.folder / "numbers.json").read_text(encoding="utf-8"))
    assert numbers["verdicts"] == {
        "held": 1, "held in part": 0, "failed": 0, "not decided at this scale": 0, "not tested": 0
    }  # fmt: skip
    assert numbers["not_measured"] == {"bad": "ValueError: <no>"}
    [finding] = numbers["experiments"][0]["findings"]
    assert finding["verdict"] == "held"
    assert finding["numbers"] == {"value": 1.0, "missing": None}
    assert (settings.folder / numbers["experiments"][0]["files_in"] / "line.png").is_file()


def test_all_figures_of_the_paper_are_there() -> None:
    """Names are unique; figures 1 to 10, the chain, dichotomies and both corrections each have an experiment."""
    found = experiments()
    places = " ".join(experiment.of_paper for experiment in found.values())
    assert all(f"Figure {number}" in places for number in range(1, 11))
    wanted = ("depth-chain", "dichotomies", "length-hardtanh", "length-relu", "length-he", "regions-line")
    assert not [name for name in wanted if name not in found]
    assert all(name == experiment.name and experiment.about for name, experiment in found.items())


def test_choosing() -> None:
    """By name or number, in the paper's order, each once."""
    assert [e.name for e in runner.choose(["circle", "2", "Figure 3"])] == ["transitions-depth", "circle"]
    assert len(runner.choose([])) == len(experiments())
    with pytest.raises(InvalidInputError, match="no figure 'lengths'"):
        runner.choose(["circle", "lengths"])
