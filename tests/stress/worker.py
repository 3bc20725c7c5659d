"""Checks networks one after another: ``python -m tests.stress.worker GROUP``, told kinds and seeds line by line."""

from __future__ import annotations

import sys
from dataclasses import asdict

import numpy as np
import torch

from tests.stress.checks import GROUPS
from tests.stress.processes import hear, say


def main(group: str) -> None:
    torch.set_num_threads(1)
    np.seterr(all="ignore")
    while True:
        kind, seed = hear()
        say([asdict(verdict) | {"silent": verdict.silent} for verdict in GROUPS[group](kind, seed)])


if __name__ == "__main__":
    main(sys.argv[1])
