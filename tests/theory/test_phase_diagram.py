"""Phase diagrams: the same numbers as single points, as tables and as pictures."""

import math

import matplotlib
import numpy as np
import pytest

from netfold.errors import InvalidInputError
from netfold.theory import mean_field, phase_diagram

matplotlib.use("Agg")


@pytest.mark.parametrize("name", ["tanh", "hardtanh", "relu", "gelu"])
def test_a_diagram_is_many_mean_fields(name):
    """Every point has the numbers that mean_field gives for it."""
    diagram = phase_diagram(name, [0.8, 1.4, 2.2], [0.0, 0.4])
    for i, sigma_b in enumerate(diagram.sigma_b):
        for j, sigma_w in enumerate(diagram.sigma_w):
            field = mean_field(name, sigma_w, sigma_b)
            assert diagram.phase[i, j] == field.phase
            assert diagram.status[i, j] == field.status
            for key in ("q", "c", "chi_1", "chi_2", "xi_c", "curvature"):
                assert diagram.numbers[key][i, j] == pytest.approx(getattr(field, key), rel=1e-9, nan_ok=True)


def test_tables():
    """Rows and labelled arrays hold the grid; labels are plain strings."""
    diagram = phase_diagram("tanh", [0.5, 1.5, 2.5], [0.1, 0.2])
    frame, arrays = diagram.to_dataframe(), diagram.to_xarray()
    assert len(frame) == 6
    assert {"sigma_w", "sigma_b", "q", "chi_1", "phase", "status"} <= set(frame.columns)
    assert arrays["chi_1"].sel(sigma_w=1.5, sigma_b=0.2).item() == mean_field("tanh", 1.5, 0.2).chi_1
    assert arrays["phase"].dtype.kind == "U"
    assert arrays.attrs["activation"] == "tanh"


def test_picture():
    """Axes are labelled, the critical line and the region without fixed point have legend entries."""
    axes = phase_diagram("relu", np.linspace(1, 2, 11), np.linspace(0, 1, 5)).plot()
    assert "sigma_w" in axes.get_xlabel()
    assert "sigma_b" in axes.get_ylabel()
    assert [t.get_text() for t in axes.get_legend().get_texts()] == [
        "chi_1 passes 1",
        "signal grows without bound",
    ]
    assert "2 points: 50% ordered, 0% critical, 50% chaotic" in str(phase_diagram("tanh", [0.5, 2.0], [0.1]))
    single = phase_diagram("tanh", [2.0], [0.1]).plot()
    assert single.get_legend() is None
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("sigma_w", "sigma_b", "words"),
    [
        ([], [0.0], "sigma_w must be a non-empty increasing sequence"),
        ([1.0, 1.0], [0.0], "sigma_w must be a non-empty increasing sequence"),
        ([1.0], [math.nan], "sigma_b.0. must be a finite number"),
        ([0.0, 1.0], [0.0], "sigma_w must be positive"),
        ([1.0], [-1.0, 0.0], "sigma_b not negative"),
    ],
)
def test_bad_axes(sigma_w, sigma_b, words):
    """Axes must be increasing numbers in range."""
    with pytest.raises(InvalidInputError, match=words):
        phase_diagram("tanh", sigma_w, sigma_b)
