"""What capturing costs beside a forward pass and a trace of the same network, in one run.

    python benchmarks/capture.py [--repeats 30]

For a module seen before, one whose weights changed, and one that was never seen (its architecture forgotten): CPU time
of one thread, the least of the repeats, in milliseconds and as a ratio to a forward pass of three points. Beside them a
trace of the captured program along a line, and one of the module itself, seen before; for the small network also
`nf.score` of 16 lines. The last row is exported, which is done for what is no chain of torch's own layers. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import netfold as nf
from netfold.capture.template import known


class Residual(nn.Module):
    """A network that is no chain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(10, 32), nn.Linear(32, 32), nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x))
        return self.last(h + torch.relu(self.second(h)))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "10-32-32-32-1": (lambda: nf.random_network(10, 32, 3, seed=0), (10,)),
    "64-(8 x 256)-10": (lambda: nf.random_network(64, 256, 8, outputs=10, seed=0), (64,)),
    "convolutional, 8 x 8": (convolutional, (1, 8, 8)),
    "residual, exported": (Residual, (10,)),
}


def least(work: Callable[[], Any], repeats: int) -> float:
    """Milliseconds of this thread's CPU time, the least of some."""
    work()
    times = []
    for _ in range(repeats):
        begin = time.thread_time()
        work()
        times.append(time.thread_time() - begin)
    return 1e3 * min(times)


def row(name: str, repeats: int) -> str:
    """A row of the table."""
    make, shape = NETWORKS[name]
    model = make().eval()
    points, generator = torch.randn(3, *shape), np.random.default_rng(0)
    line = nf.Line(*generator.standard_normal((2, *shape)))
    program = nf.capture(model, shape=shape)

    def changed() -> None:
        next(model.parameters()).data.mul_(0.999)
        nf.capture(model, shape=shape)

    def forgotten() -> None:
        known.clear()
        nf.capture(model, shape=shape)

    with torch.no_grad():
        forward = least(lambda: model(points), repeats)
    captures = [least(work, repeats) for work in (lambda: nf.capture(model, shape=shape), changed, forgotten)]
    traces = [least(lambda model=model: nf.trace_path(model, line), repeats) for model in (program, model)]
    score = least(lambda: nf.score(model, generator.standard_normal((50, *shape))), repeats)
    shown = [f"{c:.2f} ({c / forward:.0f})" for c in captures]
    return f"| {name} | {forward:.3f} | {' | '.join(shown)} | {traces[0]:.2f} | {traces[1]:.2f} | {score:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | forward | seen before | new weights | never seen | trace, program | trace, module | score |")
    print("|---|---|---|---|---|---|---|---|")
    for name in NETWORKS:
        print(row(name, given.repeats), flush=True)


if __name__ == "__main__":
    main()
