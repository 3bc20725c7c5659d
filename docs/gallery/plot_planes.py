"""How a network cuts a plane
==========================

A network cuts a plane: lines that bend, and a slice through three test digits before and after training.

::

    python docs/gallery/plot_planes.py [planes.png]

Top: borders of layers 1, 1-2 and 1-3 of a random ReLU network (2 inputs, three layers of 10 units, seed 4) on the
square [-2, 2]^2, as figure 1 of Raghu et al. (2017) sketches them. Bottom: the plane through three test digits (the
first 3, 5 and 8 of the test split) for the network that `netfold report` trains on scikit-learn's digits (seed 0),
with the weights it started from and with those it ended with. Numbers are printed.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import netfold as nf
from netfold.training.digits import load_digits, train

SHOWN = (3, 5, 8)


def draw_layers(axes: np.ndarray) -> None:
    """The borders of the first layers of a small random network."""
    net = nf.random_network(2, 10, 3, 3, activation="relu", sigma_w=1.5, sigma_b=1.0, seed=4)
    part = nf.partition_plane(net, nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]), bounds=(-2, 2, -2, 2))
    for shown, ax in enumerate(axes, 1):
        part.plot("layer", ax, layers=shown, legend=shown == 3)
        layers = f"layer{'' if shown == 1 else 's 1 to'} {shown}"
        ax.set_title(f"{layers}: {part.layers[shown - 1].regions} regions", fontsize="medium")
        ax.label_outer()


def draw_digits(axes: np.ndarray) -> None:
    """The slice through three digits, before and after training."""
    digits = load_digits(0)
    trained = train(digits, seed=0)
    chosen = digits.test[[int(np.argmax(digits.test_labels == label)) for label in SHOWN]]
    plane = nf.Plane.through(*chosen)
    where, names = plane.coordinates(chosen), [f"a {label}" for label in SHOWN]
    for ax, (when, net) in zip(axes, (("before", trained.initial), ("after", trained.net)), strict=True):
        part = nf.partition_plane(net, plane)
        part.plot("class", ax, points=where, labels=names)
        ax.set_title(f"{when} training: {part.regions:,} regions", fontsize="medium")
        boundary = part.decision_boundary()
        density = part.density(where, radius=0.25 * float(part.plane.frame[0, 0]))
        print(when, part.regions_by_layer.tolist(), part.status, f"margin {part.margin:.1e}", boundary)
        print(f"  regions per area near the digits {density.near:.4g}, far {density.far:.4g}")
        print("  distances of the digits to the boundary", boundary.distance(where).round(3).tolist())


def main(file: str | None = None) -> None:
    """Draw both rows."""
    figure = plt.figure(figsize=(8.4, 6.0), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1, 1.2])
    draw_layers(top.subplots(1, 3, sharey=True))
    draw_digits(bottom.subplots(1, 2))
    figure.savefig(file, dpi=110) if file else plt.show()


main(*sys.argv[1:2])
