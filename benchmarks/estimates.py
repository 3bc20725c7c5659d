"""Estimates of long paths through large networks: seconds, memory, intervals; and how often intervals hold the truth.

    python benchmarks/estimates.py large [resnet18 ...] [--budget 120] [--size 224]
    python benchmarks/estimates.py cover [L4 H3 resnet18 ...] [--seeds 100] [--evaluations 400]

``large`` estimates a line between two random images of standard normal pixels. ``cover`` compares estimates of many
seeds with the exact trace: the cases of `lines.py`, or a ResNet at 32 pixels, whose exact trace takes minutes and is
kept in the file given with ``--keep``.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.resnets import RESNETS

import netfold as nf
from tests.cases import build


def case(name: str, size: int) -> tuple[nn.Module, nf.Line]:
    """A network and its line."""
    if name not in RESNETS:
        return build(name)
    x0, x1 = np.random.default_rng(0).standard_normal((2, 3, size, size))
    return RESNETS[name](), nf.Line(x0, x1)


def large(names: list[str], size: int, budget: float) -> None:
    """One estimate each."""
    for name in names:
        net, path = case(name, size)
        begin, cpu = time.perf_counter(), time.process_time()
        found = nf.estimate_trace(net, path, seconds=budget)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        spent = (
            f"{time.perf_counter() - begin:.0f} s, {time.process_time() - cpu:.0f} s of CPU, {memory:.2f} GB at most"
        )
        print(f"{name} at {size} pixels: {spent}; {found.cells} cells, {found.evaluations} evaluations\n{found}")
        errors = [one.relative_error for one in (*found.transitions, *found.lengths, found.regions)]
        print(f"widest interval: {100 * max(errors):.2g}% of the value\n", flush=True)


def cover(names: list[str], seeds: int, evaluations: int, keep: str | None) -> None:
    """How often the interval holds the exact number, for regions, transitions and lengths of every layer."""
    print("| case | regions | evaluations | hold: regions | transitions a layer | lengths | half width of regions |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        net, path = case(name, 32)
        program = nf.capture(net, shape=path.shape)
        true = nf.Trace.load(keep) if keep and Path(keep).exists() else nf.trace_path(program, path)
        if keep:
            true.save(keep)
        exact = np.concatenate([[true.regions], true.transitions, true.lengths[1:]])
        held, wide, spent = [], [], []
        for seed in range(seeds):
            found = nf.estimate_trace(
                program, path, seconds=None, evaluations=evaluations, whole="never", tolerance=1e-4, seed=seed
            )
            numbers = [found.regions, *found.transitions, *found.lengths[1:]]
            assert all(n.at_least <= e * (1 + 1e-9) for n, e in zip(numbers, exact, strict=True)), seed
            slack = 1e-9 * exact
            held.append([n.low - s <= e <= n.high + s for n, e, s in zip(numbers, exact, slack, strict=True)])
            wide.append(found.regions.relative_error)
            spent.append(found.evaluations)
        layers = len(true.layers)
        share = np.round(100 * np.mean(held, 0)).astype(int).tolist()
        print(
            f"| {name} | {true.regions:,} | {np.mean(spent):.0f} | {share[0]}% | {share[1 : layers + 1]} | "
            f"{share[layers + 1 :]} | {100 * np.mean(wide):.2g}% |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["large", "cover"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--budget", type=float, default=120.0)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--evaluations", type=int, default=400)
    parser.add_argument("--keep")
    given = parser.parse_args()
    if given.what == "large":
        large(given.names or ["resnet18", "resnet50"], given.size, given.budget)
    else:
        cover(given.names or ["L4", "H3"], given.seeds, given.evaluations, given.keep)


if __name__ == "__main__":
    main()
