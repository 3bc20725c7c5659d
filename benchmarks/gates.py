"""The certified share of a path over depth and stretch length, in small networks like GPT-2 and like Llama.

``python benchmarks/gates.py [--blocks 1 2] [--like Llama]`` prints for one to three blocks (three tokens of eight
numbers, random weights, the line between two random points) which share of all pairs of a stretch and a gate is
certified where the path is cut into so many equal stretches, and, behind the slash, which share of stretches has all of
its gates certified. The switches held against the enclosures are those that the trace finds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import netfold as nf
from netfold.sampled import gates
from tests.sampled.test_gates import TOKENS, WIDTH, case

STRETCHES = (64, 256, 1024, 4096)


def switches(program: nf.Program, path: nf.Line, tolerance: float) -> gates.Switches:
    """What a trace finds."""
    kept: list[gates.Switches] = []
    certify = gates.certify
    with mock.patch.object(gates, "certify", lambda *given: kept.append(given[2]) or certify(*given, most=1)):
        nf.trace_path(program, path, certify=True, tolerance=tolerance)
    return kept[0]


def curve(llama: bool, blocks: int, seed: int, tolerance: float) -> list[str]:
    """One cell a number of stretches."""
    model, path = case(seed, llama, blocks)
    program = nf.capture(model, shape=(TOKENS, WIDTH))
    found, cells = switches(program, path, tolerance), []
    for count in STRETCHES:
        ends, sure = np.linspace(0, 1, count + 1), []
        for part in np.array_split(np.arange(count), max(1, count // 256)):
            ok, _ = gates.certain(program, path, found, ends[part], ends[part + 1])
            sure.append(np.concatenate(list(ok.values()), 1))
        whole = np.concatenate(sure)
        cells.append(f"{np.floor(1e4 * whole.mean()) / 1e4:.4f} / {np.floor(1e3 * whole.all(1).mean()) / 1e3:.3f}")
    return cells


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--like", nargs="+", choices=["GPT-2", "Llama"], default=["GPT-2", "Llama"])
    parser.add_argument("--tolerance", type=float, default=1e-3)
    asked, begin = parser.parse_args(), time.process_time()
    print(f"| like, blocks | {' | '.join(f'{n:,} stretches' for n in STRETCHES)} |\n|---|{'---|' * len(STRETCHES)}")
    for name in asked.like:
        for blocks in asked.blocks:
            cells = curve(name == "Llama", blocks, asked.seed, asked.tolerance)
            print(f"| {name}, {blocks} | {' | '.join(cells)} |", flush=True)
    print(f"{time.process_time() - begin:.0f} CPU s", file=sys.stderr)


if __name__ == "__main__":
    main()
