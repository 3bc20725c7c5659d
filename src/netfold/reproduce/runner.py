"""Run experiments one after the other; those that are done with the same settings are found again."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from netfold.errors import InvalidInputError
from netfold.exact.numerics.compiling import compile_time
from netfold.progress import shown
from netfold.reproduce import experiments
from netfold.reproduce.figure import Experiment, Settings
from netfold.reproduce.results import DoneExperiment, folder_of, key_of, read, work_in, write


@dataclass(frozen=True)
class Failure:
    """An experiment that could not be measured.

    Attributes:
        name: of the experiment, and ``title``, ``of_paper`` as there.
        title: a few words.
        of_paper: where it comes from.
        message: what went wrong, in one line with the class of the error.
    """

    name: str
    title: str
    of_paper: str
    message: str


def choose(names: Sequence[str]) -> tuple[Experiment, ...]:
    """The experiments of these names, or of these figures of the paper ("3", "Figure 3"), in its order; all for none.

    Raises:
        InvalidInputError: there is no such experiment.

    Example:
        >>> [experiment.name for experiment in choose(["circle", "Figure 3"])]
        ['circle']
    """
    known = experiments()
    unknown = [name for name in names if not any(_named(name, experiment) for experiment in known.values())]
    if unknown:
        raise InvalidInputError(
            f"there is no figure {' or '.join(map(repr, unknown))}; known are {', '.join(known)} "
            "(netfold reproduce --list)"
        )
    return tuple(e for e in known.values() if not names or any(_named(name, e) for name in names))


def run(chosen: Sequence[Experiment], settings: Settings) -> Iterator[DoneExperiment | Failure]:
    """Results of experiments, each as soon as it is there.

    An experiment that fails stops no other.

    Args:
        chosen: the experiments.
        settings: with the folder that holds all of them. What is there from a run with the same settings is read,
            not measured again.
    """
    for number, experiment in enumerate(chosen, 1):
        folder, key = folder_of(experiment, settings, settings.folder), key_of(experiment, settings)
        found = read(folder, key)
        _say(settings, f"{number} of {len(chosen)}: {experiment.name}{', kept from before' if found else ''}")
        if found is None:
            begin = time.perf_counter()
            try:
                with compile_time() as compiling:
                    made = experiment.run(replace(settings, folder=work_in(folder, key)))
                spent = sum(compiling)
                seconds = time.perf_counter() - begin - spent
                found = write(experiment, made, key, seconds, spent, folder)
                _say(settings, f"{number} of {len(chosen)}: {experiment.name} took {seconds:.0f} s{_compiled(spent)}")
            except Exception as error:
                if _interrupted(error):
                    raise
                message = f"{type(error).__name__}: {' '.join(str(error).split())}"
                found = Failure(experiment.name, experiment.title, experiment.of_paper, message)
        yield found


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an error: inside a compiler callback it comes out as another one."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _named(name: str, experiment: Experiment) -> bool:
    word = name.lower().removeprefix("figure").strip()
    figures = re.findall(r"\bFigure (\d+)\b(?! of)", experiment.of_paper)  # those of the ICLR submission are "of" it
    return name.lower() == experiment.name or word in figures


def _compiled(seconds: float) -> str:
    return f", and {seconds:.0f} s to compile, once" if seconds >= 1 else ""


def _say(settings: Settings, text: str) -> None:
    if settings.progress and shown():
        print(text, file=sys.stderr, flush=True)
