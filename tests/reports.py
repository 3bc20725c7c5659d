"""Reports that several tests look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import netfold as nf
from netfold.reporting.gather import ReportData, gather
from netfold.reporting.job import report_on_digits
from netfold.reporting.page import files_beside


@dataclass(frozen=True)
class Written:
    """A page on the disk and the numbers it was made of."""

    page: Path
    data: ReportData

    @property
    def folder(self) -> Path:
        return files_beside(self.page)


@pytest.fixture(scope="session")
def digits_report(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The main job: from nothing to a page, with fewer pairs than usual."""
    page = tmp_path_factory.mktemp("digits") / "report.html"
    return Written(page, report_on_digits(page, pairs=12))


@pytest.fixture(scope="session")
def small() -> ReportData:
    """Two small networks on random points, one taken for the other before training."""
    points = np.random.default_rng(0).normal(size=(40, 6))
    nets = [
        nf.random_network(inputs=6, width=16, depth=3, outputs=3, activation="relu", sigma_b=b, seed=s)
        for b, s in ((0.1, 2), (0.0, 3))
    ]
    return gather(nets[0], points, initial=nets[1], labels=np.zeros(40, np.int64), pairs=15)
