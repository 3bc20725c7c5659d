"""Length and transitions grow with depth
======================================

The paper's first finding, live: length and transitions grow exponentially with depth, slowly with width.

::

    python docs/gallery/plot_growth.py [growth.png]

Hard-tanh networks, sigma_w^2 = 16, sigma_b = 0, depth 8, on an arc between two random points on the sphere of radius
sqrt(100); 5 networks a width (seeds 0 to 4). Transitions: state switches per unit; length: over the arc's length.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import netfold as nf

rng = np.random.default_rng(0)
arc = nf.Arc(*(10 * x / np.linalg.norm(x) for x in rng.normal(size=(2, 100))))
figure, panels = plt.subplot_mosaic("ab;cc", figsize=(6.4, 6.0), layout="constrained")
left, middle, below = panels["a"], panels["b"], panels["c"]
for width, color in ((25, "#56B4E9"), (50, "#0072B2"), (100, "#D55E00"), (200, "#000000")):
    nets = [nf.random_network(100, width, 8, 1, "hardtanh", sigma_w=4.0, seed=seed) for seed in range(5)]
    traces = [nf.trace_path(net, arc) for net in nets]
    length = np.mean([t.lengths[1:-1] / t.lengths[0] for t in traces], axis=0)
    switches = np.mean([t.transitions for t in traces], axis=0) / width
    left.semilogy(range(1, 9), length, "o-", color=color, label=f"width {width}")
    middle.semilogy(range(1, 9), switches, "o-", color=color)
    below.loglog(length / np.sqrt(width), switches, "o", color=color)
left.set(xlabel="layer", ylabel="length / length of the arc")
middle.set(xlabel="layer", ylabel="transitions per unit")
below.set(xlabel="length / (length of the arc x sqrt(width))", ylabel="transitions per unit")
left.legend()
figure.savefig(sys.argv[1], dpi=120) if len(sys.argv) > 1 else plt.show()
