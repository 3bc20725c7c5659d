"""The parts of an experiment: claims, how the numbers decide them, settings, figures and tables."""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

    from netfold.plots.themes import Theme
    from netfold.reproduce.data import Images

WIDTH = 6.4
"""Inches of every figure; at 600 pixels of page width, 11-point type is then 13 pixels high."""


Check = bool | None
"""Whether something holds; None where the measurement leaves that open."""


def both(*checks: Check) -> Check:
    """Whether all hold: not where one does not, and open where one is.

    Example:
        >>> both(True, None), both(None, False), both(True, True)
        (None, False, True)
    """
    return False if any(check is False for check in checks) else None if None in checks else True


class Verdict(Enum):
    """Whether a claim agrees with what was measured. Made by `of`, `graded` and `between`, from numbers."""

    HELD = "held"
    PARTLY = "held in part"
    FAILED = "failed"
    OPEN = "not decided at this scale"
    UNTESTED = "not tested"

    @classmethod
    def of(cls, checks: Iterable[Check]) -> Verdict:
        """Held where every check holds, failed where none does, held in part otherwise.

        A check that the measurement leaves open is None; the verdict is not decided where it would depend on them.

        Raises:
            ValueError: there is no check, so nothing was measured.

        Example:
            >>> Verdict.of([1.2 > 1, 0.9 > 1]), Verdict.of([True, None]).value
            (<Verdict.PARTLY: 'held in part'>, 'not decided at this scale')
        """
        found = list(checks)
        if not found:
            raise ValueError("a verdict needs at least one check")
        least, most = ([bool(unknown if check is None else check) for check in found] for unknown in (False, True))
        low, high = (cls.HELD if all(known) else cls.PARTLY if any(known) else cls.FAILED for known in (least, most))
        return low if low is high else cls.OPEN

    @classmethod
    def between(cls, low: float, high: float, held: float, partly: float) -> Verdict:
        """As `graded`, for all values of an interval; not decided where they differ, or where there is no interval.

        Example:
            >>> Verdict.between(0.92, 0.97, held=0.9, partly=0.7), Verdict.between(0.8, 1.0, held=0.9, partly=0.7)
            (<Verdict.HELD: 'held'>, <Verdict.OPEN: 'not decided at this scale'>)
        """
        ends = {cls.graded(end, held, partly) for end in (low, high)}
        return ends.pop() if len(ends) == 1 and not math.isnan(low + high) else cls.OPEN

    @classmethod
    def graded(cls, value: float, held: float, partly: float) -> Verdict:
        """Held where ``value`` reaches ``held``, held in part where it only reaches ``partly``, else failed.

        Reaching is being at least as large where ``held >= partly``, and at most as large where ``held < partly``
        (for errors and deviations). NaN reaches nothing.

        Example:
            >>> Verdict.graded(0.93, held=0.9, partly=0.7), Verdict.graded(0.2, held=0.05, partly=0.1)
            (<Verdict.HELD: 'held'>, <Verdict.FAILED: 'failed'>)
        """
        if math.isnan(value):
            return cls.FAILED
        sign = 1 if held >= partly else -1
        return cls.HELD if sign * value >= sign * held else cls.PARTLY if sign * value >= sign * partly else cls.FAILED


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper that numbers can decide.

    Attributes:
        text: the claim, in our words.
        source: where it is made: paper and place, "Raghu et al. 2017, Observation 1".
        rule: in words, what must be measured for it to hold, to hold in part, or to fail. The code that makes the
            verdict stands beside it.
        misreading: whether the paper does not claim it, but is often read so; such claims stand apart and do not count.
    """

    text: str
    source: str
    rule: str
    misreading: bool = False


@dataclass(frozen=True)
class Finding:
    """A claim and what came of it.

    Attributes:
        claim: the claim.
        verdict: computed from numbers by `Verdict.of` or `Verdict.graded`.
        measured: what was measured, in one or two sentences with the numbers that decided.
        numbers: the same numbers by name, for numbers.json.
    """

    claim: Claim
    verdict: Verdict
    measured: str
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)


Draw = Callable[["Figure", "Theme"], None]


@dataclass(frozen=True)
class Drawing:
    """A figure, to be drawn in a light and a dark theme.

    Attributes:
        draw: draws on an empty `matplotlib.figure.Figure` of `WIDTH` by ``height`` inches, with the theme's colours
            (its settings are in force; `netfold.reproduce.drawing` has marks and colour orders).
        caption: what is shown, with the counting rule, the scale (widths, draws, intervals) and the seed.
        about: one sentence for those who cannot see it.
        height: in inches.
    """

    draw: Draw
    caption: str
    about: str
    height: float = 3.9


@dataclass(frozen=True)
class Settings:
    """How experiments are run.

    Attributes:
        quick: a few minutes for all; otherwise the full scale.
        data: images for networks that are trained, and for paths between inputs; ``data.name`` says which.
        seed: of every random choice. The same settings give the same numbers.
        folder: an experiment's own folder for what it wants to find again after it was stopped (a sweep's store,
            checkpoints). It exists; what was left there was made with the same settings.
        workers: processes or threads to use.
        progress: show progress bars on stderr where that is a terminal.
    """

    quick: bool
    data: Images
    seed: int
    folder: Path
    workers: int = 1
    progress: bool = False

    @property
    def scale(self) -> str:
        """``quick`` or ``full``."""
        return "quick" if self.quick else "full"

    def generator(self, *names: object) -> np.random.Generator:
        """Random numbers that depend on the seed and on these names alone, whatever else was drawn."""
        word = int.from_bytes(hashlib.sha256(repr(names).encode()).digest()[:8], "big")
        return np.random.default_rng([self.seed, word])


@dataclass(frozen=True)
class Made:
    """What came of an experiment.

    Attributes:
        findings: one a claim.
        figures: drawings by name; the name becomes the file's, after that of the experiment.
        tables: the numbers behind them by name.
        setting: how it was measured, in a sentence or two: networks, paths, draws, seed.
        notes: what a reader should know besides: what the texts leave open and what was chosen.
    """

    findings: tuple[Finding, ...]
    figures: Mapping[str, Drawing]
    tables: Mapping[str, pd.DataFrame | xr.Dataset]
    setting: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """A figure, or a later correction, that can be measured again.

    Attributes:
        name: what to ask for on the command line, in kebab-case.
        title: a few words.
        of_paper: where it comes from, "Figure 3" with the paper's name where it is not Raghu et al., ICML 2017.
        run: measures it. It may be stopped at any moment and run again with the same settings and folder.
        version: raised when ``run`` measures something else than before, so that stored results are not reused.
        uses_data: whether it depends on the images in the settings.
        about: one sentence on what is measured, for ``--list``.
    """

    name: str
    title: str
    of_paper: str
    run: Callable[[Settings], Made]
    about: str
    uses_data: bool = False
    version: int = 1


def experiment(
    of_paper: str, title: str, *, uses_data: bool = False, version: int = 1
) -> Callable[[Callable[[Settings], Made]], Experiment]:
    """Makes an `Experiment` of a function of the settings: its name is the function's, its docstring says what for.

    Example:
        >>> @experiment("Figure 99", "A title")
        ... def some_circles(settings):
        ...     'What circles do.'
        >>> some_circles.name, some_circles.about
        ('some-circles', 'What circles do.')
    """

    def of(run: Callable[[Settings], Made]) -> Experiment:
        name, about = run.__name__.replace("_", "-"), " ".join((inspect.getdoc(run) or "").split())
        return Experiment(name, title, of_paper, run, about, uses_data, version)

    return of
