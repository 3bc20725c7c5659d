"""Time exact traces of straight paths as ratios to the matrix products alone, in one run.

    python benchmarks/lines.py [CASE ...] [--repeat 3]

The products are those of plain refinement: the network's affine layers, in float64, on as many rows as the layer
before has breakpoints plus two (im2col products for convolutions), each timed on at most 2,048 rows and scaled. The
trace holds everything a `Trace` holds. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import netfold as nf
from tests.cases import CASES, build

MANY = 1000


def products(net: nn.Sequential, shape: tuple[int, ...], regions: list[float], lines: int = 1) -> float:
    """Seconds for the affine layers' products on all the rows they see."""
    rows = [2 * lines, *(round((r + 1) * lines) for r in regions)]
    x, spent, layer = torch.zeros(2, *shape, dtype=torch.float64), 0.0, 0
    for module in net:
        if isinstance(module, nn.Linear | nn.Conv2d):
            spent += seconds_of(module, x, rows[layer])
            layer += 1
        x = module(x)
    return spent


def seconds_of(module: nn.Linear | nn.Conv2d, x: torch.Tensor, rows: int) -> float:
    """Seconds for one layer's product on ``rows`` points."""
    weight = module.weight.detach().flatten(1)
    each = 1
    if isinstance(module, nn.Conv2d):
        each = module(x)[0, 0].numel()
    sample = min(rows * each, 2048 if each == 1 else 16384)
    a = torch.randn(sample, weight.shape[1], dtype=torch.float64)
    return best(lambda: a @ weight.T, 5) * rows * each / sample


def best(function, repeat: int) -> float:
    """Shortest time of a few calls."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def main() -> None:
    """Print one row a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[*CASES, "L1 x 1000"])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float64\n")
    print("| case | regions | trace | products | ratio | peak memory |\n|---|---|---|---|---|---|")
    with torch.no_grad():
        for name in arguments.cases:
            print(row(name, arguments.repeat), flush=True)


def row(name: str, repeat: int) -> str:
    """One case: regions, seconds, ratio, and the process's peak memory so far above that before the case."""
    case = name.split(" ")[0]
    lines = MANY if name.endswith(f"x {MANY}") else 1
    net, path = build(case)
    program = nf.capture(net, shape=path.shape)
    rng = np.random.default_rng(1)
    paths = [path] if lines == 1 else [nf.Line(*rng.standard_normal((2, *path.shape))) for _ in range(lines)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    traces = nf.trace_paths(program, paths)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if lines == 1:
        assert traces[0].regions == CASES[case].regions[-1]
    layers = np.cumsum(np.mean([t.transitions for t in traces], axis=0)) + 1
    spent = best(lambda: nf.trace_paths(program, paths), repeat)
    floor = products(net, path.shape, layers.tolist(), lines)
    regions = sum(t.regions for t in traces)
    return f"| {name} | {regions:,} | {spent:.4f} s | {floor:.4f} s | {spent / floor:.2f} | +{memory:.0f} MB |"


if __name__ == "__main__":
    main()
