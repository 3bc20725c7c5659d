"""What is proved of the units of networks trained on MNIST in boxes around an image, and what of them can go.

``python benchmarks/units.py FOLDER KEPT`` trains 784-[100]x5 and 784-[800]x2 on the folder's images (five epochs of
Adam, seed 0; once with weight decay), and prints for pixel boxes of 0.01 and 0.05 around the first test image the
shares of units that are proved to stay on one piece by interval arithmetic and by linear bounds, those proved to be
free, with parts of the domain too, and what `nf.simplify` leaves. What is done is in the folder ``KEPT``, from which it
goes on after a kill.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import netfold as nf
from netfold.exact.matrices.explicit import ExplicitProgram
from netfold.exact.ranges.relaxed import Relaxation, left_open
from netfold.reproduce.data import Images, read_images
from records import Store, perceptron

SHAPES = {"784-[100]x5": [784, *[100] * 5, 10], "784-[800]x2": [784, 800, 800, 10]}
DECAYS = {"": 0.0, ", weight decay": 1.0}
BOXES = (0.01, 0.05)
EPOCHS, BATCH = 5, 64


def trained(sizes: list[int], decay: float, images: Images) -> nn.Sequential:
    """A perceptron after some epochs."""
    net, data = perceptron(sizes, 0), torch.from_numpy(images.train).reshape(-1, 784)
    labels = torch.from_numpy(images.train_labels)
    optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=decay)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data)).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(data[rows]), labels[rows]).backward()
            optimiser.step()
    return net.eval()


def by_intervals(net: nn.Sequential, box: nf.Box) -> float:
    """The share of units that interval arithmetic alone proves to stay on one piece."""
    program = nf.capture(net, shape=(784,))
    low, high = box.limits((784,))
    follow = Relaxation(ExplicitProgram.of(program), torch.from_numpy(low), torch.from_numpy(high))
    follow.best = lambda index, units, sign, lines, steps: torch.full((len(units),), -np.inf)  # type: ignore[method-assign]
    open_ = [
        left_open(la, r.low.numpy(), r.high.numpy()) for la, r in zip(program.layers, follow.follow(0), strict=True)
    ]
    return float(1 - np.concatenate(open_).mean())


def bounded(net: nn.Sequential, box: nf.Box, **more: int) -> dict[str, Any]:
    """The share proved, by state."""
    found = nf.units(net, box, **more)
    stays = sum(found.count(state, "proved") for state in ("dead", "on", "saturated"))
    total = len(found.units.unit)
    return {"proved": found.proved, "stay": stays / total, "free": found.count("free", "proved") / total}


def simplified(net: nn.Sequential, box: nf.Box, points: int) -> dict[str, Any]:
    """What is left, and how far outputs are off at random points of the box, in float64."""
    net = net.double()
    small, (low, high) = nf.simplify(net, box), map(torch.from_numpy, box.limits((784,)))
    off, size = 0.0, 0.0
    with torch.no_grad():
        for seed in range(points // 10**4):
            share = torch.rand(10**4, 784, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            x = low + (high - low) * share
            y = net(x)
            off, size = max(off, float((y - small(x)).abs().max())), max(size, float(y.abs().max()))
    return {"units": small.units, "numbers": small.counts, "off": off / size, "points": points}


def main() -> None:
    """Measure what is not known yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--splits", type=int, default=32)
    parser.add_argument("--points", type=int, default=10**6, help="random inputs at which outputs are compared")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images, store = read_images(asked.folder), Store(asked.kept)
    image = images.test[0].reshape(784).astype(np.float64)
    ways: dict[str, Callable[[nn.Sequential, nf.Box], Any]] = {
        "intervals": lambda net, box: {"stay": by_intervals(net, box)},
        "bounds": bounded,
        "parts": lambda net, box: bounded(net, box, splits=asked.splits),
        "simplify": lambda net, box: simplified(net, box, asked.points),
    }
    for name, sizes in SHAPES.items():
        for more, decay in DECAYS.items():
            weights = store.file(f"weights {name}{more}", ".safetensors")
            if not weights.exists():
                save_file(trained(sizes, decay, images).state_dict(), weights)
            net = perceptron(sizes, 0).eval()
            net.load_state_dict(load_file(weights))
            if f"{name}{more}" not in store.rows():
                outputs = net(torch.from_numpy(images.test).reshape(-1, 784)).argmax(1).numpy()
                store.keep(f"{name}{more}", {"accuracy": float((outputs == images.test_labels).mean())})
            for width in BOXES:
                for way, measure in ways.items():
                    case = f"{name}{more} {width} {way}"
                    if case in store.rows() or (more and way == "parts"):
                        continue
                    begin = time.process_time()
                    row = measure(net, nf.Box(image - width, image + width))
                    store.keep(case, row | {"cpu": time.process_time() - begin})
                    print(case, store.rows()[case], file=sys.stderr, flush=True)
    tell(store.rows())


def tell(rows: dict[str, Any]) -> None:
    """The table."""
    heads = ["network", "test images right", "box", "intervals", "bounds: stay, free, proved", "with parts"]
    heads += ["units left", "numbers left", "outputs off"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name in SHAPES:
        for more in DECAYS:
            for width in BOXES:
                at = {
                    way: rows.get(f"{name}{more} {width} {way}") for way in ("intervals", "bounds", "parts", "simplify")
                }
                if not any(at.values()):
                    continue
                cells = [f"{name}{more}", f"{rows[name + more]['accuracy']:.1%}", f"{width}"]
                first, small = at["intervals"], at["simplify"]
                cells.append(f"{first['stay']:.1%} ({first['cpu']:.1f} s)" if first else "")
                for row in (at["bounds"], at["parts"]):
                    shares = ", ".join(f"{row[what]:.1%}" for what in ("stay", "free", "proved")) if row else ""
                    cells.append(f"{shares} ({row['cpu']:.0f} s)" if row else "")
                for what in ("units", "numbers"):
                    cells.append(f"{small[what][1]:,} of {small[what][0]:,}" if small else "")
                cells.append(f"{small['off']:.0e}" if small else "")
                print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
