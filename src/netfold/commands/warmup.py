"""All passes compiled before they are needed, on the command line: ``netfold warmup``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from netfold.commands.options import AsJson, answer
from netfold.errors import InvalidInputError

# Commands import what they need when they run, so that --help does not wait for torch.


def warmup(
    *,
    workers: Annotated[int | None, Parameter(help="Processes, by default one a core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compile everything now, so that no first call waits: for an image, a cluster or a class.

    Compiled passes are kept beside the package, or in the folder that
    NUMBA_CACHE_DIR names, and serve every later process on processors of
    this kind. Processes that compile at once share the work.

    For example:

      netfold warmup
      NUMBA_CACHE_DIR=/shared/passes netfold warmup --workers 8
    """
    import time

    from joblib import cpu_count

    import netfold as nf
    from netfold.exact.numerics import ahead, caches
    from netfold.progress import progress_bar

    if workers is not None and workers < 1:
        raise InvalidInputError(f"--workers must be at least 1, got {workers}")
    begun, roots = time.monotonic(), sorted({root for verb in ahead.record()[1] for root in verb})
    if caches.shared():
        ahead.call_for_help(roots, (workers or cpu_count()) - 1)
        with progress_bar(len(ahead.missing(ahead.needed(roots))), "compiling", "pass", None) as bar:
            ahead.work(roots, done=bar.update)
    foreseen = caches.compiled()
    for verb in VERBS.values():
        verb(nf)
    numbers = {
        "folder": str(caches.home().folder),
        "seconds": time.monotonic() - begun,
        "unforeseen": caches.compiled() - foreseen,
    }
    answer(as_json, numbers, f"compiled for {len(VERBS)} verbs in {numbers['seconds']:.0f} s, into {numbers['folder']}")


def _dense(nf: Any, inputs: int, activation: str = "relu") -> Any:
    return nf.random_network(inputs, max(6, inputs), 2, 3, activation, seed=0)


def _pooled() -> Any:
    from torch import nn, random

    with random.fork_rng():
        random.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()


def _lines(nf: Any) -> None:
    nf.trace_path(_dense(nf, 3), nf.Line([-1.0, 0.5, 0.25], [1.0] * 3))  # not through knots: those take a proof


def _other_lines(nf: Any) -> None:
    line = nf.Line([0.0] * 3, [1.0] * 3)
    nf.trace_path(_dense(nf, 3, "hardtanh"), line)
    nf.trace_path(_dense(nf, 3), line, certify=True)
    nf.trace_path(_pooled(), nf.Line([[[0.0] * 8] * 8], [[[1.0] * 8] * 8]))


def _arcs(nf: Any) -> None:
    nf.trace_path(_dense(nf, 3), nf.Circle([1.0, 0.0, 0.5], [0.0, 1.0, 0.5]))


def _planes(nf: Any) -> None:
    plane = nf.Plane([0.3, -0.2, 0.7], [1.0, 0.1, 0.3], [0.2, -0.9, 0.4])  # not through knots, as the line
    nf.partition_plane(_dense(nf, 3), plane, bounds=(-1, 1, -1, 1))


def _counts(nf: Any) -> None:
    nf.count_regions(_dense(nf, 3))
    nf.count_regions(_dense(nf, 3), nf.Box([-1.0] * 3, [1.0] * 3))


def _counts_of_many_inputs(nf: Any) -> None:
    nf.count_regions(_dense(nf, 8))


def _regions(nf: Any) -> None:
    nf.estimate_regions(_dense(nf, 3))
    nf.region_graph(_dense(nf, 2))


def _smooth(nf: Any) -> None:
    nf.trace_path(_dense(nf, 3, "tanh"), nf.Line([0.0] * 3, [1.0] * 3))


VERBS: dict[str, Callable[[Any], None]] = {
    "count, many inputs": _counts_of_many_inputs,
    "trace, circles": _arcs,
    "trace, lines": _lines,
    "count": _counts,
    "partition": _planes,
    "trace, other lines": _other_lines,
    "estimate": _regions,
    "trace, smooth": _smooth,
}
"""What is run: what compiles the most first."""
