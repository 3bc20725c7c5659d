"""How well scores rank small architectures by test accuracy on scikit-learn's digits, beside their size.

    python benchmarks/ranking.py [--models 30] [--seeds 3] [--steps 300] [--plot ranking.png]
    python benchmarks/ranking.py --times

Architectures are drawn at random: 1 to 6 hidden layers of equal width, 4 to 64 units (uniform logarithm), ReLU, leaky
ReLU or hard-tanh, torch's own initialisation. Each is scored untrained (`nf.score` of the factory on the training
inputs) and trained by Adam on the same 1,000 inputs with several seeds; the outcome is its mean accuracy on the other
797. Then the same for models of nearly one size, of 1 to 10 hidden layers, where the number of parameters can say
little. With ``--times`` instead: the CPU time of a score. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn

import netfold as nf
from netfold.ranking import RankCorrelations, table

TRAIN = 1000
KINDS = (nn.ReLU, nn.LeakyReLU, nn.Hardtanh)


@dataclass(frozen=True)
class Architecture:
    """A multilayer perceptron for digits; calling it makes one."""

    width: int
    depth: int
    activation: type[nn.Module]

    def __call__(self) -> nn.Sequential:
        sizes = [64] + [self.width] * self.depth
        hidden = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), self.activation())]
        return nn.Sequential(*hidden, nn.Linear(sizes[-1], 10))


def drawn(count: int, seed: int) -> list[Architecture]:
    """Random architectures."""
    generator = np.random.default_rng(seed)
    widths, depths = 4 * 16 ** generator.random(count), generator.integers(1, 7, count)
    kinds = generator.integers(len(KINDS), size=count)
    return [Architecture(round(w), int(d), KINDS[k]) for w, d, k in zip(widths, depths, kinds, strict=True)]


def of_one_size(count: int, parameters: int = 4000) -> list[Architecture]:
    """Depths from 1 on, each with every nonlinearity, and the width that comes nearest to so many parameters."""
    found = []
    for i in range(count):
        depth, kind = 1 + i // len(KINDS), KINDS[i % len(KINDS)]
        sizes = np.array([sum(p.numel() for p in Architecture(w, depth, kind)().parameters()) for w in range(1, 80)])
        found.append(Architecture(1 + int(np.abs(sizes - parameters).argmin()), depth, kind))
    return found


def accuracy(make: Callable[[], nn.Sequential], x: torch.Tensor, y: torch.Tensor, seeds: int, steps: int) -> float:
    """Mean test accuracy of networks trained from several initialisations."""
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        net = make()
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(steps):
            rows = torch.randint(TRAIN, (64,))
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            found.append(float((net(x[TRAIN:]).argmax(1) == y[TRAIN:]).float().mean()))
    return float(np.mean(found))


def ranked(architectures: list[Architecture], seeds: int, steps: int) -> tuple[RankCorrelations, str]:
    """Correlations of all scores, and a line on the models."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x, y = data.data[order] / 16, data.target[order]
    spent = time.process_time()
    scores = [nf.score(make, x[:TRAIN], networks=4, lines=16) for make in architectures]
    spent = time.process_time() - spent
    tensors = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    outcome = np.array([accuracy(make, *tensors, seeds, steps) for make in architectures])
    columns = table(scores)
    sizes = columns["parameters"]
    words = (
        f"{len(outcome)} models of {sizes.min():,} to {sizes.max():,} parameters, accuracy {outcome.min():.3f} to "
        f"{outcome.max():.3f} (mean of {seeds} seeds, {steps} steps); scoring took {1e3 * spent / len(outcome):.0f} ms "
        "of CPU a model (4 networks, 16 lines each)"
    )
    return nf.rank_correlation(columns.assign(depth=[a.depth for a in architectures]), outcome), words


def printed(found: RankCorrelations, words: str, baseline: str = "parameters") -> None:
    """Print a table."""
    print(f"\n{words}\n\n| score | Spearman | Kendall | Spearman less that of {baseline} |\n|---|---|---|---|")
    against = found.against(baseline)
    for name, row in found.table.iterrows():
        gap = against.loc[name] if name in against.index else pd.Series({"difference": 0.0, "low": 0.0, "high": 0.0})
        cells = [
            f"{row[kind]:.2f} [{row[kind + '_low']:.2f}, {row[kind + '_high']:.2f}]" for kind in ("spearman", "kendall")
        ]
        print(
            f"| {name} | {cells[0]} | {cells[1]} | {gap.difference:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}] |",
            flush=True,
        )


def times() -> None:
    """Print the CPU time of a score: with capturing, and of a program that was captured before."""
    x = load_digits().data / 16
    convolutions = nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip
    models = {
        "64-[64]x2-10, ReLU": Architecture(64, 2, nn.ReLU)(),
        "64-[256]x4-10, ReLU": Architecture(256, 4, nn.ReLU)(),
        "two convolutions of 8 channels, ReLU": convolutions,
        "64-[64]x2-10, tanh": Architecture(64, 2, nn.Tanh)(),
    }
    print("| model | regions a line | score of 16 lines, ms | of a captured program, ms |\n|---|---|---|---|")
    for name, model in models.items():
        spent = []
        for given in (model.eval(), nf.capture(model, shape=(64,))):
            runs = []
            for _ in range(5):
                begin = time.process_time()
                found = nf.score(given, x)
                runs.append(1e3 * (time.process_time() - begin))
            spent.append(f"{np.median(runs):.0f}")
        print(f"| {name} | {found.regions.value:.0f} | {' | '.join(spent)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--plot")
    parser.add_argument("--times", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.times:
        times()
        return
    first, words = ranked(drawn(given.models, 0), given.seeds, given.steps)
    printed(first, words)
    printed(*ranked(of_one_size(given.models), given.seeds, given.steps))
    if given.plot:
        first.plot().figure.savefig(given.plot, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
