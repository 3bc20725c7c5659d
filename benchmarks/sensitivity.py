"""Time layer sensitivity against the naive loop (copy the model, change a layer, run all of it), in one run.

    python benchmarks/sensitivity.py [--repeat 3]

CPU time, shortest of a few. The noise is drawn beforehand for both sides, and the outputs are compared. Ratios: of all
layers' time together, and the mean of the ratios layer by layer. The whole call also captures the model, draws the
noise and computes the metric. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import copy
import time

import numpy as np
import torch
from torch import nn

import netfold as nf
from netfold.sensitivity import weight_layers
from netfold.sensitivity.measure import SensitivityPlan
from netfold.sensitivity.runners import TapeRunner

REPEATS = 10


def dense(width: int, depth: int = 9) -> tuple[nn.Module, tuple[int, ...]]:
    return nf.random_network(100, width, depth, 10, "hardtanh", seed=0), (100,)


def convolutional(channels: int) -> tuple[nn.Module, tuple[int, ...]]:
    torch.manual_seed(0)
    parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.ReLU()]
    for _ in range(8):
        parts += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    return nn.Sequential(*parts).eval(), (3, 16, 16)


CASES = {
    "dense, 10 layers of 32, 500 inputs": (lambda: dense(32), 500),
    "dense, 10 layers of 256, 1,000 inputs": (lambda: dense(256), 1000),
    "dense, 10 layers of 1,024, 1,000 inputs": (lambda: dense(1024), 1000),
    "convolutional, 10 layers of 16, 200 inputs": (lambda: convolutional(16), 200),
}


class Case:
    """A network with all its noise drawn beforehand: what both sides share."""

    def __init__(self, net: nn.Module, shape: tuple[int, ...], x: torch.Tensor) -> None:
        self.net, self.x, self.layers = net, x, weight_layers(net)
        plan = SensitivityPlan(net, self.layers, [nf.GaussianNoise(0.25)], REPEATS, 0, False)
        self.sets = {la.name: [plan.draw(la, 0, r) or {} for r in range(REPEATS)] for la in self.layers}
        self.runner = TapeRunner.of(net, shape, torch.float32, torch.device("cpu"))

    def naive(self, name: str) -> list[torch.Tensor]:
        """Change one layer of a copy, run the copy as a whole."""
        outputs = []
        for changes in self.sets[name]:
            other = copy.deepcopy(self.net)
            for key, value in changes.items():
                other.get_parameter(key).copy_(value)
            outputs.append(other(self.x))
        return outputs

    def times(self) -> tuple[np.ndarray, np.ndarray, float]:
        """CPU seconds by layer of the naive loop and of the shared prefix, and the largest difference."""
        slow, fast, gap = [], [], 0.0
        sweep = self.runner.sweep(self.x, self.layers)
        for _ in self.layers:
            begin = time.process_time()
            layer, evaluate = next(sweep)  # runs what lies between this layer and the one before
            found = list(evaluate(self.sets[layer.name]))
            fast.append(time.process_time() - begin)
            begin = time.process_time()
            expected = self.naive(layer.name)
            slow.append(time.process_time() - begin)
            gap = max(gap, *(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)))
        return np.array(slow), np.array(fast), gap


def main() -> None:
    """Print one row a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, {REPEATS} repeats a layer\n")
    print(
        "| case | naive | shared prefix | all layers | mean over layers | first, last layer | whole call | difference |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, (build, rows) in CASES.items():
        print(row(name, *build(), rows, arguments.repeat), flush=True)


def row(name: str, net: nn.Module, shape: tuple[int, ...], rows: int, repeat: int) -> str:
    """One case: seconds, the ratio of the totals, the mean of the layers' ratios, and the whole call with capture."""
    x = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        case = Case(net, shape, x)
        measured = [case.times() for _ in range(repeat)]
    slow, fast = (np.min([m[i] for m in measured], axis=0) for i in (0, 1))
    begin = time.process_time()
    nf.layer_sensitivity(net, x, repeats=REPEATS, batch_size=rows, progress=False)
    whole = time.process_time() - begin
    by_layer = slow / fast
    return (
        f"| {name} | {slow.sum():.2f} s | {fast.sum():.2f} s | {slow.sum() / fast.sum():.2f} | {by_layer.mean():.2f} | "
        f"{by_layer[0]:.2f}, {by_layer[-1]:.1f} | {whole:.2f} s | {max(m[2] for m in measured):.0e} |"
    )


if __name__ == "__main__":
    main()
