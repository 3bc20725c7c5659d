"""What a monitor at its default budget costs a small convolutional training, and that training does not notice it.

``python benchmarks/monitors.py [seconds]`` trains the same network twice for as many steps, with and without a monitor
(paths, unit shares, effective ranks, local complexity), one thread, and tells the monitor's share of the time.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import netfold as nf


def network() -> nn.Sequential:
    """Three convolutions and a readout."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.Flatten(), nn.Linear(7 * 7 * 32, 10),
    )  # fmt: skip


def train(
    x: torch.Tensor, y: torch.Tensor, monitor: nf.monitors.Monitor | None, seconds: float, steps: int = 0
) -> tuple[dict[str, torch.Tensor], int, float]:
    """The weights after so many seconds, or steps where they are given; the steps; the seconds."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
    begin, step = time.perf_counter(), 0
    while step < steps if steps else time.perf_counter() - begin < seconds:
        if monitor is not None:
            monitor(net, step)
        rows = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
        step += 1
    return net.state_dict(), step, time.perf_counter() - begin


def main(seconds: float) -> None:
    """Print the comparison."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2000, 1, 28, 28, generator=generator), torch.randint(10, (2000,), generator=generator)
    watched = [
        nf.monitors.AlongPaths(nf.Line(x[0].numpy(), (x[0] + 0.02 * (x[1] - x[0])).numpy())),
        nf.monitors.UnitShares(x[:64].numpy()),
        nf.monitors.EffectiveRank(x[:64].numpy()),
        nf.monitors.LocalComplexity(x[:4].numpy()),
    ]
    for which in ("cold", "warm"):
        begin = time.perf_counter()
        nf.monitors.measure(network(), watched)
        print(f"one measurement, {which}: {time.perf_counter() - begin:.2f} s")
    monitor = nf.monitors.Monitor(watched, every=10)
    with_it, steps, spent = train(x, y, monitor, seconds)
    without, _, alone = train(x, y, None, seconds, steps)
    same = all(torch.equal(a, b) for a, b in zip(with_it.values(), without.values(), strict=True))
    print(
        f"{steps} steps in {spent:.1f} s with the monitor, {alone:.1f} s without; same weights to the last bit: {same}"
    )
    print(f"measured at steps {monitor.history.steps}, {len(monitor.history.missed)} due ones missed")
    print(f"measuring: {monitor.seconds:.2f} s over {monitor.training_seconds:.1f} s of training: {monitor.share:.2%}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 120.0)
