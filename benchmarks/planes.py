"""Time exact partitions of planes as ratios to the matrix products alone, in one run.

    python benchmarks/planes.py [CASE ...] [--repeat 3] [--threads 2]

The products are those of plain refinement: the network's hidden affine layers, in float64, on as many rows as the
layer before leaves regions (in a plane cut by lines in general position, vertices are about as many), timed on at
most 2,048 rows and scaled. ``count`` is `count_regions`, ``partition`` is `partition_plane` with areas and polygons;
both start from a captured program. Times are of the process's CPU with one thread, of the clock with more. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import netfold as nf
from tests.exact.plane.cases import SQUARES, square


def products(net: nn.Sequential, regions: list[int], clock: Callable[[], float]) -> float:
    """Seconds for the hidden layers' products on all the rows they see."""
    spent = 0.0
    hidden = [layer for layer in net if isinstance(layer, nn.Linear)][:-1]
    for layer, rows in zip(hidden, [4, *regions[:-1]], strict=True):
        sample = min(rows, 2048)
        a = torch.randn(sample, layer.in_features, dtype=torch.float64)
        weight = layer.weight.detach()
        spent += best(lambda a=a, weight=weight: a @ weight.T, 5, clock) * rows / sample
    return spent


def best(function: Callable[[], object], repeat: int, clock: Callable[[], float]) -> float:
    """Shortest time of a few calls after the first."""
    times = []
    for _ in range(repeat + 1):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times[1:])


def peak() -> float:
    """Peak memory of the process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print one row a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(SQUARES))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    print(f"torch {torch.__version__}, {arguments.threads} threads, float64\n")
    print("| case | regions | products | count | ratio | partition | ratio | peak memory, count | partition |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.cases:
        print(row(name, arguments.repeat, clock), flush=True)


def row(name: str, repeat: int, clock: Callable[[], float]) -> str:
    """One case: regions, times, ratios, and the process's peak memory so far above that before the case."""
    net, plane = square(name)
    program = nf.capture(net, shape=plane.shape)
    nf.partition_plane(program, plane, (0.0, 0.05, 0.0, 0.05))
    before = peak()
    by_layer = list(nf.count_regions(program, plane).by_layer)
    after_count = peak() - before
    count = best(lambda: nf.count_regions(program, plane), repeat, clock)

    def built() -> None:
        part = nf.partition_plane(program, plane)
        _ = part.areas, part.polygons

    built()
    after_partition = peak() - before
    partition = best(built, repeat, clock)
    floor = products(net, by_layer, clock)
    return (
        f"| {name} | {by_layer[-1]:,} | {floor:.4f} s | {count:.4f} s | {count / floor:.2f} | {partition:.4f} s "
        f"| {partition / floor:.2f} | +{after_count:.0f} MB | +{after_partition:.0f} MB |"
    )


if __name__ == "__main__":
    main()
