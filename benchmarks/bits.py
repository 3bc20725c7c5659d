"""Bits by layer against the same bits everywhere, on CIFAR-10, with a network of resnet18's plan.

``python benchmarks/bits.py FOLDER [seed ...]`` trains on the folder's ``data_batch_1.bin`` (five epochs, one thread),
plans on 1,024 images of those, and tells the cross-entropy and accuracy on its ``test_batch.bin``.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import netfold as nf
from netfold.reproduce.data import read_images
from netfold.sensitivity import weight_layers


class Block(nn.Module):
    """A basic residual block."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.down: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.down(x))


class ResNet(nn.Module):
    """Four stages of two basic blocks, of widths w, 2w, 4w, 8w, behind one convolution of stride 2."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        for stage, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            blocks = Block(inputs, outputs, 1 if stage == 1 else 2), Block(outputs, outputs, 1)
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.relu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return self.fc(self.pool(x).flatten(1))


def trained(x: Tensor, y: Tensor, seed: int, epochs: int = 5, batch: int = 64) -> ResNet:
    """A network after some epochs of SGD with one cycle of the learning rate, images flipped half of the time."""
    torch.manual_seed(seed)
    net, steps = ResNet(), len(x) // batch
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * steps)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for i in range(steps):
            rows = order[i * batch : (i + 1) * batch]
            images = x[rows].flip(3) if torch.rand(()) < 0.5 else x[rows]
            optimizer.zero_grad()
            cross_entropy(net(images), y[rows]).backward()
            optimizer.step()
            rate.step()
    return net.eval()


def told(net: nn.Module, x: Tensor, y: Tensor) -> str:
    """Cross-entropy and accuracy."""
    with torch.no_grad():
        outputs = net(x)
    return (
        f"loss {float(cross_entropy(outputs, y)):.4f}, accuracy {float((outputs.argmax(1) == y).double().mean()):.4f}"
    )


def with_weights(net: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A copy with some parameters replaced."""
    other = ResNet().eval()
    other.load_state_dict({**net.state_dict(), **weights})
    return other


def main(folder: Path, seeds: list[int]) -> None:
    """Print the comparison."""
    torch.set_num_threads(1)
    images = read_images(folder).standardised()
    x, y = torch.from_numpy(images.train), torch.from_numpy(images.train_labels)
    test = torch.from_numpy(images.test), torch.from_numpy(images.test_labels)
    for seed in seeds:
        begin = time.process_time()
        net = trained(x, y, seed)
        print(f"seed {seed}, trained in {time.process_time() - begin:.0f} CPU s: {told(net, *test)}")
        for bits in (3, 4):
            rule = nf.Quantise(bits, per_channel=True)
            rounded = {w.name: rule.changed(w, torch.Generator()) for la in weight_layers(net) for w in la.weights}
            print(f"  {bits} bits everywhere: {told(with_weights(net, rounded), *test)}")
            for metric, direct in (("loss", None), ("loss", 8), ("squared_change", None)):
                begin = time.process_time()
                plan = nf.bit_plan(net, (x[:1024], y[:1024]), bits, metric=metric, direct=direct, batch_size=128)
                spent = time.process_time() - begin
                ranks = ", ".join(f"{r:.2f}" for r in plan.rank_correlation)
                print(f"  {plan.mean_bits:.3f} bits a weight by {metric}, {direct or 'all'} layers measured: ", end="")
                print(f"{told(with_weights(net, plan.weights(net)), *test)} ({spent:.0f} CPU s)")
                print(f"    predicted {plan.predicted:.4f}, measured {plan.loss:.4f}; rank correlations {ranks}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
