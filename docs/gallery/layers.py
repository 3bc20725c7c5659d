"""Not all weights are equal
=========================

Train one layer alone, and disturb one layer of a trained network.

::

    python docs/gallery/layers.py                      # scikit-learn's digits, nothing is downloaded
    python docs/gallery/layers.py DIR [--seeds 5]      # also DIR/mnist and DIR/cifar10

Fully connected hard-tanh networks, biases 0 at the start: digits k = 64, sigma_w^2 = 2; MNIST k = 100, sigma_w^2 = 2;
CIFAR-10 k = 200, sigma_w^2 = 1; 5 hidden layers. Left: one layer trained, all others frozen at random, 10 epochs of
Adam (learning rate 0.001, 64 images a step). Right: all layers trained by the same recipe, then Gaussian noise on one
layer's weights, standard deviation as a share of their RMS, 10 draws; CIFAR-10 also with a convolutional ReLU network
without batch norm (5 layers of 16 channels with stride 2 in the 2nd and 4th, and a readout). Lines: means over seeds;
bars: 95% intervals over seeds (Student's t).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from images import Images, cifar10, digits, mnist
from matplotlib.axes import Axes
from scipy.stats import t
from torch import nn

import netfold as nf

STRENGTHS = [0.1, 0.25, 0.5, 1.0, 2.0]


def dense(inputs: int, width: int, variance: float):
    """Makes the network of a seed."""
    return lambda seed: nf.random_network(inputs, width, 5, 10, "hardtanh", sigma_w=variance**0.5, seed=seed)


def convolutional(seed: int) -> nn.Module:
    """Five convolutions at He initialisation (sigma_w^2 = 2) and a readout."""
    generator = torch.Generator().manual_seed(seed)
    parts: list[nn.Module] = []
    for i, stride in enumerate((1, 2, 1, 2, 1)):
        conv = nn.Conv2d(3 if i == 0 else 16, 16, 3, stride, padding=1)
        nn.init.normal_(conv.weight, 0.0, (2 / conv.weight[0].numel()) ** 0.5, generator=generator)
        nn.init.zeros_(conv.bias)
        parts += [conv, nn.ReLU()]
    read = nn.Linear(16 * 64, 10)
    nn.init.normal_(read.weight, 0.0, 1 / 32, generator=generator)
    nn.init.zeros_(read.bias)
    return nn.Sequential(*parts, nn.Flatten(), read)


def trained(make, data: Images, seed: int, epochs: int) -> nn.Module:
    """A network with all its layers trained."""
    net = make(seed).train()
    x, y = (torch.from_numpy(part) for part in data.train)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    return net.eval()


def draw_sensitivity(ax: Axes, make, data: Images, seeds: int, epochs: int) -> None:
    """Accuracy against the noise on one layer, mean over seeds."""
    found = [
        nf.layer_sensitivity(trained(make, data, seed, epochs), data.test, strengths=STRENGTHS, seed=seed)
        for seed in range(seeds)
    ]
    accuracy = np.stack([f.mean for f in found])
    half = t.ppf(0.975, seeds - 1) * accuracy.std(0, ddof=1) / seeds**0.5 if seeds > 1 else 0 * accuracy[0]
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, accuracy.shape[1]))
    for i in range(accuracy.shape[1]):
        ax.errorbar(
            STRENGTHS, accuracy.mean(0)[i], half[i], fmt="o-", ms=4, capsize=2, color=colours[i], label=f"layer {i + 1}"
        )
    clean = [f.clean for f in found]
    ax.axhline(np.mean(clean), color="black", linestyle="--", linewidth=1, label="as trained")
    ax.set(xlabel="noise on the layer's weights / their RMS", ylabel="test accuracy")
    ax.legend(fontsize=8)
    print(f"  sensitivity: clean {np.mean(clean):.4f}; accuracy by layer at noise {STRENGTHS}")
    for i, row in enumerate(accuracy.mean(0)):
        print(f"    layer {i + 1}: " + "  ".join(f"{a:.3f} +- {h:.3f}" for a, h in zip(row, half[i], strict=True)))
    by_layer = accuracy.mean(2)
    ordered = [int((np.diff(row) > 0).sum()) for row in by_layer]
    print(
        f"  steps up in mean accuracy from a layer to the next one above, by seed: {ordered} of {by_layer.shape[1] - 1}"
    )


def draw_single(ax: Axes, make, data: Images, seeds: int, epochs: int) -> None:
    """Accuracy against the one layer that was trained."""
    found = nf.train_single_layer(make, data.train, data.test, seeds=range(seeds), epochs=epochs)
    found.plot(ax)
    ax.legend(fontsize=8)
    print(found)


def main() -> None:
    """Draw one row a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.data is None:
        jobs = [(digits(), dense(64, 64, 2.0), None)]
    else:
        jobs = [
            (mnist(arguments.data), dense(784, 100, 2.0), None),
            (cifar10(arguments.data), dense(3072, 200, 1.0), convolutional),
        ]
    columns = 3 if arguments.data else 2
    figure, axes = plt.subplots(
        len(jobs), columns, figsize=(4.6 * columns, 3.7 * len(jobs)), layout="constrained", squeeze=False
    )
    for row, (data, make, conv) in zip(axes, jobs, strict=True):
        print(data.name, flush=True)
        draw_single(row[0], make, data.flat, arguments.seeds, arguments.epochs)
        draw_sensitivity(row[1], make, data.flat, arguments.seeds, arguments.epochs)
        row[0].set_title(f"{data.name}: one layer trained")
        row[1].set_title(f"{data.name}: one layer disturbed")
        if conv is not None:
            draw_sensitivity(row[2], conv, data, arguments.seeds, arguments.epochs)
            row[2].set_title("the same, convolutional")
        elif columns == 3:
            row[2].set_axis_off()
    output = arguments.output or Path("layers.png" if arguments.data is None else "layers-images.png")
    figure.savefig(output, dpi=110)
    print(f"wrote {output}")


if __name__ == "__main__":
    main()
