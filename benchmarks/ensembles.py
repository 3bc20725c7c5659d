"""Time ensembles of small random networks beside the same networks traced one by one, in one run.

    python benchmarks/ensembles.py [--networks 1000] [--alone 100]

Networks 10-32-32-32-32-1, each with a line of its own between two standard normal points; everything a `Trace` holds is
measured. CPU time a network, which `nf.trace_ensemble` spends on all and `nf.trace_path` on the first ``--alone`` of
them; then without capturing: `nf.trace_path` of programs that were captured before. The traces are compared: they must
be equal to the last bit. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import netfold as nf


def milliseconds(work: Callable[[], Any], count: int) -> tuple[float, Any]:
    """CPU time for one of ``count`` pieces of work, and what came of it."""
    begin = time.process_time()
    found = work()
    return 1e3 * (time.process_time() - begin) / count, found


def row(activation: str, sigma_w: float, count: int, alone: int) -> str:
    """A row of the table."""
    generator = np.random.default_rng(0)
    lines = [nf.Line(*generator.standard_normal((2, 10))) for _ in range(count)]
    settings = {"inputs": 10, "width": 32, "depth": 4, "activation": activation, "sigma_w": sigma_w, "sigma_b": 0.1}
    make, nets = milliseconds(lambda: [nf.random_network(**settings, seed=s) for s in range(count)], count)
    pairs = list(zip(nets, lines, strict=True))[:alone]
    nf.trace_ensemble(nets[:3], lines[:3])
    together, traces = milliseconds(lambda: nf.trace_ensemble(nets, lines, progress=False), count)
    single, found = milliseconds(lambda: [nf.trace_path(net, line) for net, line in pairs], alone)
    if list(traces[:alone]) != found:
        raise SystemExit(f"{activation}: the traces differ")
    programs = [(nf.capture(net, shape=(10,)), line) for net, line in pairs]
    captured, _ = milliseconds(lambda: [nf.trace_path(program, line) for program, line in programs], alone)
    regions = np.mean([trace.regions for trace in traces])
    numbers = (f"{single:.1f}", f"{captured:.2f}", f"{together:.2f}", f"{single / together:.0f}", f"{make:.2f}")
    return f"| {activation}, sigma_w = {sigma_w:.3g} | {regions:.0f} | {' | '.join(numbers)} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--alone", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| networks | regions a line | one by one, ms | captured before, ms | ensemble, ms | ratio | drawing, ms |")
    print("|---|---|---|---|---|---|---|")
    for activation, sigma_w in (("relu", 2**0.5), ("hardtanh", 2.0)):
        print(row(activation, sigma_w, given.networks, min(given.alone, given.networks)), flush=True)


if __name__ == "__main__":
    main()
