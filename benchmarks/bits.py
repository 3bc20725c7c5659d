"""Bits by layer against the same bits everywhere, on CIFAR-10, with a network of resnet18's plan.

``python benchmarks/bits.py FOLDER KEPT [seed ...]`` trains on the folder's ``data_batch_1.bin`` (five epochs, one
thread), plans on 1,024 images of those, and prints the table of cross-entropy and accuracy on its ``test_batch.bin``.
What is done is in the folder ``KEPT``, from which it goes on after a kill.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import netfold as nf
from netfold.reproduce.data import read_images
from netfold.sensitivity import weight_layers
from records import Store


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


def told(net: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Cross-entropy and accuracy."""
    with torch.no_grad():
        outputs = net(x)
    right = (outputs.argmax(1) == y).double().mean()
    return {"loss": float(cross_entropy(outputs, y)), "accuracy": float(right)}


def with_weights(net: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """A copy with some parameters replaced."""
    other = ResNet().eval()
    other.load_state_dict({**net.state_dict(), **weights})
    return other


def rounded(net: nn.Module, bits: int) -> dict[str, Tensor]:
    """All weights with the same bits."""
    rule = nf.Quantise(bits, per_channel=True)
    return {w.name: rule.changed(w, torch.Generator()) for la in weight_layers(net) for w in la.weights}


ROWS: dict[str, tuple[int, str, int | None] | int | None] = {
    "as they are": None,
    "3 bits everywhere": 3,
    "3 on average, all layers measured": (3, "loss", None),
    "3 on average, 8 of 21 measured": (3, "loss", 8),
    '3 on average, `metric="squared_change"`': (3, "squared_change", None),
    "4 bits everywhere": 4,
    "4 on average, all layers measured": (4, "loss", None),
}
"""What is done to the weights: nothing, some bits, or a plan of a mean, by a metric, with so many layers measured."""


def row(net: nn.Module, what: tuple[int, str, int | None] | int | None, part: Any, test: Any) -> dict[str, Any]:
    """One row of the table, for one network."""
    begin = time.process_time()
    if not isinstance(what, tuple):
        return told(net if what is None else with_weights(net, rounded(net, what)), *test)
    bits, metric, direct = what
    plan = nf.bit_plan(net, part, bits, metric=metric, direct=direct, batch_size=128)
    found: dict[str, Any] = told(with_weights(net, plan.weights(net)), *test)
    ranks = [round(float(r), 2) for r in plan.rank_correlation]
    return {**found, "mean bits": plan.mean_bits, "ranks": ranks, "cpu": time.process_time() - begin}


def main(folder: Path, store: Store, seeds: list[int]) -> None:
    """Measure what is not known yet, and print the table."""
    torch.set_num_threads(1)
    images = read_images(folder).standardised()
    x, y = torch.from_numpy(images.train), torch.from_numpy(images.train_labels)
    test = torch.from_numpy(images.test), torch.from_numpy(images.test_labels)
    for seed in seeds:
        missing = [name for name in ROWS if f"{seed} {name}" not in store.rows()]
        if not missing:
            continue
        weights = store.file(f"weights {seed}", ".safetensors")
        if not weights.exists():
            save_file(trained(x, y, seed).state_dict(), weights)
        net = ResNet()
        net.load_state_dict(load_file(weights))
        for name in missing:
            found = row(net.eval(), ROWS[name], (x[:1024], y[:1024]), test)
            store.keep(f"{seed} {name}", found)
            print(f"seed {seed}, {name}: {found}", file=sys.stderr, flush=True)
    rows = store.rows()
    print(f"| weights | {' | '.join(f'seed {seed}' for seed in seeds)} |\n|---|{'---|' * len(seeds)}")
    for name in ROWS:
        cells = []
        for seed in seeds:
            found, base = rows[f"{seed} {name}"], rows[f"{seed} as they are"]["loss"]
            loss = (
                f"{base:.3f}"
                if name == "as they are"
                else f"{found['loss'] - base:+.3f}".replace("-", "\N{MINUS SIGN}")
            )
            cells.append(f"{loss}, {found['accuracy']:.3f}")
        print(f"| {name} | {' | '.join(cells)} |")
    plans = {name: [rows[f"{seed} {name}"] for seed in seeds] for name, what in ROWS.items() if isinstance(what, tuple)}
    for name, found in plans.items():
        spent = ", ".join(f"{f['cpu']:.0f}" for f in found)
        print(f"\n{name}: rank correlations at each number of bits {[f['ranks'] for f in found]}; {spent} CPU s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Store(Path(sys.argv[2])), [int(seed) for seed in sys.argv[3:]] or [0, 1, 2])
