"""Labellings against remaining depth
==================================

Labellings of 15 inputs while one layer's weights run along W cos t + W' sin t, against the remaining depth.

::

    python docs/gallery/plot_dichotomies.py [dichotomies.png]

Hard-tanh networks, sigma_w^2 = 8, sigma_b = 0, depth 8, one output; 15 random inputs of norm sqrt(k); one sweep a layer
of 3 networks a width (seeds 0 to 2). Marks: single sweeps; lines: geometric means.
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch

import netfold as nf

torch.set_num_threads(1)
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for width, color, marker in ((32, "#56B4E9", "o"), (64, "#0072B2", "s"), (128, "#D55E00", "D")):
    x = np.random.default_rng(0).normal(size=(15, width))
    x *= np.sqrt(width) / np.linalg.norm(x, axis=1, keepdims=True)
    counts = []
    for seed in range(3):
        net = nf.random_network(width, width, 8, 1, "hardtanh", sigma_w=8**0.5, seed=seed)
        found = nf.count_dichotomies(net, x, seed=seed)
        counts.append(found.counts[:, 0])
        ax.semilogy(found.remaining_depth, found.counts[:, 0], marker, color=color, alpha=0.4, markersize=4)
    mean = np.exp(np.log(counts).mean(0))
    ax.semilogy(found.remaining_depth, mean, "-", color=color, label=f"width {width}")
    print(width, dict(zip(found.remaining_depth.tolist(), np.round(mean, 1).tolist(), strict=True)))
    print("   growth per layer, depths 1 to 6:", round(float((mean[2] / mean[7]) ** (1 / 5)), 3))
ax.plot([], [], " ", label=f"ceiling, far above: 2^15 = {found.ceiling:,}")
ax.set(xlabel="remaining depth (nonlinearities behind the swept layer)", ylabel="labellings of 15 inputs")
ax.legend()
figure.savefig(sys.argv[1], dpi=120) if len(sys.argv) > 1 else plt.show()
