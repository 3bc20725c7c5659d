"""Trajectory regularisation against batch norm
============================================

The regulariser, batch norm, and neither: same network, same budget, three seeds.

::

    python docs/gallery/regularizer.py                 # scikit-learn's digits, nothing is downloaded
    python docs/gallery/regularizer.py DIR             # CIFAR-10 from DIR/cifar10

Digits: fully connected, 64-64-64-64-10, ReLU, 30 epochs. CIFAR-10: five 3x3 convolutions of 16 channels (stride 2 in
the 2nd and 4th) and a readout, ReLU, 6 epochs. SGD with momentum 0.9, learning rate 0.05, 64 images a step (an
incomplete last batch is left out: it would spoil batch statistics); He initialisation, the same weights for all
variants of a seed. The layer stands between the affine map and the ReLU. Length: of the line between two test images,
after each ReLU, over the line's own; 8 lines, geometric mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from images import Images, cifar10, digits
from torch import nn

import netfold as nf

VARIANTS = {
    "neither": ("#000000", lambda channels, flat: nn.Identity()),
    "batch norm": ("#D55E00", lambda channels, flat: nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels)),
    "trajectory, layer": ("#0072B2", lambda channels, flat: nf.TrajectoryRegularizer(0.01)),
    "trajectory, penalty": ("#56B4E9", lambda channels, flat: nf.TrajectoryRegularizer(0.01, scaled=False)),
}


def network(seed: int, variant: str, flat: bool) -> nn.Module:
    """The network of a seed; its weights do not depend on the variant."""
    generator = torch.Generator().manual_seed(seed)
    extra = VARIANTS[variant][1]
    parts: list[nn.Module] = []
    for i in range(4 if flat else 5):
        width = 64 if flat else 16
        layer = nn.Linear(64, 64) if flat else nn.Conv2d(3 if i == 0 else 16, 16, 3, 2 if i in (1, 3) else 1, padding=1)
        parts += [_he(layer, generator), extra(width, flat), nn.ReLU()]
    return nn.Sequential(*parts, nn.Flatten(), _he(nn.Linear(64 if flat else 1024, 10), generator))


def _he(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> nn.Module:
    nn.init.normal_(layer.weight, 0.0, (2 / layer.weight[0].numel()) ** 0.5, generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def train(net: nn.Module, data: Images, seed: int, epochs: int) -> list[float]:
    """Train; returns the test accuracy after every epoch."""
    x, y = (torch.from_numpy(part) for part in data.train)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(seed)
    regularised = any(isinstance(m, nf.TrajectoryRegularizer) for m in net.modules())
    found = [accuracy(net, data)]
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(x), generator=order)[: len(x) // 64 * 64].split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
            if regularised:
                loss = loss + nf.TrajectoryRegularizer.penalty(net)
            loss.backward()
            optimizer.step()
        found.append(accuracy(net, data))
    return found


def accuracy(net: nn.Module, data: Images) -> float:
    """Share of test images classified right."""
    net.eval()
    with torch.no_grad():
        return float((net(torch.from_numpy(data.test[0])).argmax(1).numpy() == data.test[1]).mean())


def main() -> None:
    """Draw accuracy over epochs and lengths after training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = digits().flat if arguments.data is None else cifar10(arguments.data)
    flat = arguments.data is None
    epochs = arguments.epochs or (30 if flat else 6)
    pairs = np.random.default_rng(0).choice(len(data.test[0]), (8, 2), replace=False)
    lines = [nf.Line(*data.test[0][pair].astype(np.float64)) for pair in pairs]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    print(data.name, f"{epochs} epochs")
    floors = []
    for name, (colour, _) in VARIANTS.items():
        curves, lengths = [], []
        for seed in range(arguments.seeds):
            net = network(seed, name, flat)
            curves.append(train(net, data, seed, epochs))
            values = nf.trace_paths(net.eval(), lines).values("length")
            relu = [0, *(i + 1 for i in range(values.shape[1] - 2)), values.shape[1] - 1]
            with np.errstate(divide="ignore"):  # a network that died has length 0
                lengths.append(np.exp(np.log(values[:, relu] / values[:, :1]).mean(0)))
        ends = [curve[-1] for curve in curves]
        print(f"  {name:<20} test accuracy {np.mean(ends):.4f} (seeds: {', '.join(f'{e:.4f}' for e in ends)})")
        print(f"  {'':<20} length of the line, layer by layer: {np.round(np.mean(lengths, 0), 3).tolist()}", flush=True)
        floors.append(float(np.mean(ends)))
        for curve in curves:
            left.plot(curve, color=colour, alpha=0.25, linewidth=1)
        left.plot(np.mean(curves, 0), color=colour, label=f"{name}, {np.mean(ends):.3f} at the end")
        right.semilogy(np.mean(lengths, 0), "o-", color=colour, label=name)
    left.set(xlabel="epoch", ylabel="test accuracy", title=f"{data.name}, {arguments.seeds} seeds")
    right.set(
        xlabel="ReLU layer (0: input, last: output)", ylabel="length / length of the line", title="after training"
    )
    left.set_ylim(min(floors) - 0.08, max(floors) + 0.02)
    left.legend(fontsize=8)
    output = arguments.output or Path("regularizer.png" if flat else "regularizer-cifar.png")
    figure.savefig(output, dpi=110)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
