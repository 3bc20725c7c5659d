"""Theory as lines, measurement as points
======================================

Theory as lines, measurement as points: growth against the gain, and transitions against depth.

::

    python docs/gallery/plot_theory.py [theory.png]

Left: growth of the length of a circle (points of mean square 1, 100 inputs) in layer 4 of networks of width 512.
Right: transitions (state switches) per unit on the straight line between two orthogonal points of mean square 1, in
hard-tanh networks of width 512. No biases; points are means over 5 networks (seeds 0 to 4) with two standard errors.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import netfold as nf
from netfold.theory import Comparison, length_growth

INPUTS, WIDTH, NETWORKS = 100, 512, 5
U, V = np.linalg.qr(np.random.default_rng(0).normal(size=(INPUTS, 2)))[0].T * np.sqrt(INPUTS)
BLUE, VERMILION, GREEN, BLACK = "#0072B2", "#D55E00", "#009E73", "#000000"


def compared(path: nf.Line | nf.Circle, activation: str, sigma_w: float, depth: int) -> Comparison:
    """Traces of one path through several networks beside theory."""
    nets = (nf.random_network(INPUTS, WIDTH, depth, 1, activation, sigma_w, seed=s) for s in range(NETWORKS))
    traces = nf.Traces([nf.trace_path(net, path) for net in nets])
    return traces.compare(path, activation=activation, sigma_w=sigma_w, draws="networks")


def draw_growth(ax: plt.Axes) -> None:
    """Growth in layer 4 against the gain, and the line between shrinking and growing."""
    gains, fine = np.linspace(0.5, 3.0, 6), np.linspace(0.4, 3.1, 60)
    for activation, color, marker in (("relu", BLUE, "o"), ("hardtanh", VERMILION, "s"), ("tanh", GREEN, "^")):
        theory = [length_growth(activation, s, depth=4, q0=1.0).growth[3] for s in fine]
        ax.plot(fine, theory, color=color, label=activation)
        rows = [compared(nf.Circle(U, V), activation, s, 4)["growth"][3] for s in gains]
        bars = [2 * row.error for row in rows]
        ax.errorbar(gains, [row.measured for row in rows], bars, fmt=marker, color=color, markersize=5, capsize=3)
    ax.axhline(1, color="0.6", linewidth=0.8)
    ax.set(xlabel="gain $\\sigma_w$", ylabel="growth of length in layer 4", yscale="log")
    ax.set_yticks([0.5, 1, 2], ["0.5", "1", "2"])
    ax.minorticks_off()
    ax.legend(frameon=False)


def draw_transitions(ax: plt.Axes) -> None:
    """Transitions per unit against the layer."""
    layers = np.arange(1, 9)
    for sigma_w, color, marker in ((4.0, BLACK, "o"), (2.0, VERMILION, "s"), (1.0, BLUE, "^")):
        rows = compared(nf.Line(U, V), "hardtanh", sigma_w, 8)["transitions"]
        measured, theory, error = (
            np.array([getattr(row, name) for row in rows]) / WIDTH for name in ("measured", "predicted", "error")
        )
        ax.plot(layers, theory, color=color)
        label = f"$\\sigma_w$ = {sigma_w:g}"
        ax.errorbar(layers, measured, 2 * error, fmt=marker, color=color, markersize=5, capsize=3, label=label)
    ax.set(xlabel="layer", ylabel="transitions per unit, line", yscale="log")
    ax.set_ylim(top=300)
    ax.legend(frameon=False)


plt.rcParams |= {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
draw_growth(left)
draw_transitions(right)
figure.savefig(sys.argv[1], dpi=150) if len(sys.argv) > 1 else plt.show()
