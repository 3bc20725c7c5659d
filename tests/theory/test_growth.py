"""Length, energy: exact finite-width factors, infinite-width curves, simulations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfold.errors import InvalidInputError
from netfold.paths import Arc, Circle, Curve, Line, Polyline
from netfold.theory import Method, as_activation, leaky_relu, length_growth, mean_field
from netfold.theory.chi import chi_mean, gated_chi_mean

HE = math.sqrt(2)


@pytest.mark.parametrize(
    ("width", "factor"),
    [(2, 0.712271), (5, 0.869781), (10, 0.935637), (50, 0.987427), (100, 0.993732), (256, 0.997556)],
)
def test_exact_relu_factor(width, factor):
    """A He layer of k units on k inputs multiplies expected length by sqrt(2 / k) M(k)."""
    found = length_growth("relu", HE, width=width, depth=3)
    assert found.growth == pytest.approx([factor] * 3, abs=6e-7)
    assert found.lengths == pytest.approx(np.cumprod(found.growth))
    assert found.method == Method.EXACT
    assert found.energy_growth == pytest.approx([1.0] * 3)


@pytest.mark.parametrize(("width", "ratio"), [(2, 0.886227), (10, 0.975350), (100, 0.997503)])
def test_mean_stretch_of_a_gaussian_matrix(width, ratio):
    """E ||W v|| / ||v|| = sigma_w sqrt(2 / k) Gamma((k + 1) / 2) / Gamma(k / 2)."""
    assert length_growth("linear", 1.7, width=width).growth[0] == pytest.approx(1.7 * ratio, abs=1e-6)
    readout = length_growth("relu", 1.7, width=width, outputs=width).growth[-1]
    assert readout == pytest.approx(1.7 * ratio, abs=1e-6)


def test_small_widths_in_closed_form():
    """k = 1: half a half-normal mean; k = 2: the two cases of one and of two units on."""
    assert gated_chi_mean(1, 0.0, 1.0)[0] == pytest.approx(0.5 * math.sqrt(2 / math.pi))
    two = 0.5 * math.sqrt(2 / math.pi) + 0.25 * math.sqrt(math.pi / 2)
    assert gated_chi_mean(2, 0.0, 1.0)[0] == pytest.approx(two)


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_two_slopes_interpolate_between_relu_and_linear(n):
    """Slopes (0, 1) and (1, 1) are the ends of the two-slope mean, which meets both continuously."""
    relu, linear = gated_chi_mean(n, 0.0, 1.0)[0], gated_chi_mean(n, 1.0, 1.0)[0]
    assert linear == pytest.approx(chi_mean(n))
    value, error = gated_chi_mean(n, 1e-7, 1.0)
    assert value == pytest.approx(relu, rel=1e-6)
    assert error < 1e-9
    assert gated_chi_mean(n, 1 - 1e-9, 1.0)[0] == pytest.approx(linear, rel=1e-8)
    assert gated_chi_mean(n, -0.5, 1.0) == gated_chi_mean(n, 0.5, 1.0)


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5])
def test_finite_width_factor_against_simulation(slope):
    """Random ReLU-like layers, biases and all, stretch a displacement by the exact factor at width 6."""
    phi, rng, k, runs = leaky_relu(slope), np.random.default_rng(5), 6, 40_000
    x, velocity = rng.normal(size=k), rng.normal(size=k)
    stretch = np.ones((runs, 1)) * np.linalg.norm(velocity)
    x, velocity = np.tile(x, (runs, 1)), np.tile(velocity, (runs, 1))
    for _ in range(2):
        weights = rng.normal(size=(runs, k, k)) * math.sqrt(2 / k)
        h = np.einsum("rij,rj->ri", weights, x) + rng.laplace(size=(runs, k))
        gate = np.where(h > 0, 1.0, slope)
        velocity, x = gate * np.einsum("rij,rj->ri", weights, velocity), gate * h
    lengths = np.linalg.norm(velocity, axis=1) / stretch[:, 0]
    predicted = length_growth(phi, HE, 1.0, width=k, depth=2)
    error = lengths.std() / math.sqrt(runs)
    assert abs(lengths.mean() - predicted.lengths[-1]) < 4 * error
    energy = lengths**2
    spread = energy.std() / math.sqrt(runs)
    assert abs(energy.mean() - predicted.energy_growth.prod()) < 4 * spread


def test_unequal_widths_and_scalings():
    """Energy is E||z'||^2 = sigma_w^2 / 2 * n / fan_in a layer; scaling="width" replaces the first fan-in."""
    shape = {"width": [30, 20, 10], "inputs": 5, "outputs": 3}
    fan_in = length_growth("relu", 1.5, **shape)
    assert fan_in.energy_growth == pytest.approx(1.5**2 * np.array([15 / 5, 10 / 30, 5 / 20, 3 / 10]))
    width = length_growth("relu", 1.5, **shape, scaling="width")
    assert width.growth[0] == pytest.approx(fan_in.growth[0] * math.sqrt(5 / 30))
    assert width.growth[1:] == pytest.approx(fan_in.growth[1:])


@pytest.mark.parametrize("curve", ["circle", "arc", "line"])
def test_relu_stretches_every_curve_alike(curve):
    """At infinite width both gains are 1/2: sqrt(sigma_w^2 / 2) a layer for every curve and bias."""
    found = length_growth("relu", 1.7, 0.4, depth=4, curve=curve)
    assert found.growth == pytest.approx([1.7 / HE] * 4)
    assert found.method == Method.INFINITE


@pytest.mark.parametrize(("squared", "growth"), [(2, 1.157903), (4, 1.345241), (8, 1.571864), (16, 1.845336)])
def test_circles_grow_by_the_root_of_chi(squared, growth):
    """A circle at q* grows by sqrt(chi_1) in every layer, and so does its quarter arc."""
    for curve in ("circle", "arc"):
        found = length_growth("hardtanh", math.sqrt(squared), depth=3, curve=curve)
        assert found.growth == pytest.approx([growth] * 3, abs=6e-7)
        assert found.energy_growth == pytest.approx([growth**2] * 3, abs=3e-6)
        assert found.status == "converged"


def test_gains_of_hard_tanh():
    """At V = 1 the perpendicular gain is erf(1/sqrt 2) = 0.68269 and the radial one 0.19875."""
    m = as_activation("hardtanh").moments(np.ones(1))
    assert (m.slope[0], m.radial[0]) == pytest.approx((0.68269, 0.19875), abs=6e-6)
    assert mean_field("hardtanh", 1.0, 1.0).chi_radial < mean_field("hardtanh", 1.0, 1.0).chi_1


@pytest.mark.parametrize("name", ["hardtanh", "tanh", "relu"])
def test_reversing_or_splitting_a_line_changes_nothing(name):
    """A line, its reverse and the polyline through its middle have one length in every layer."""
    a, b = np.array([1.0, 0.5, -0.3]), np.array([-0.4, 1.2, 0.8])
    options = {"depth": 3, "sigma_b": 0.2}
    line = length_growth(name, 1.8, curve=Line(a, b), **options)
    for other in (Line(b, a), Polyline([a, (a + b) / 2, b])):
        assert length_growth(name, 1.8, curve=other, **options).lengths == pytest.approx(line.lengths)


def test_named_curves_are_paths():
    """ "circle", "arc" and "line" are the paths through orthogonal points of mean square q0."""
    u, v = np.sqrt(1.7 * 4) * np.eye(4)[:2]
    for name, path in (("circle", Circle(u, v)), ("arc", Arc(u, v)), ("line", Line(u, v))):
        named = length_growth("hardtanh", 2.0, 0.3, depth=3, curve=name, q0=1.7)
        assert named.growth == pytest.approx(length_growth("hardtanh", 2.0, 0.3, depth=3, curve=path).growth)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(shift=st.floats(-1.5, 1.5), angle=st.floats(0.1, 3.0), sigma_b=st.floats(0, 1))
def test_rotating_the_inputs_changes_nothing(shift, angle, sigma_b):
    """Only inner products of the path's points enter: a rotated line grows alike."""
    a, b = np.array([1.0, shift]), np.array([-0.2, 0.9])
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    plain = length_growth("hardtanh", 1.6, sigma_b, depth=2, curve=Line(a, b)).growth
    assert length_growth("hardtanh", 1.6, sigma_b, depth=2, curve=Line(turn @ a, turn @ b)).growth == (
        pytest.approx(plain, rel=1e-9)
    )


def speeds(phi, path, sigma_w, sigma_b, depth, rng, width):
    """Mean speed along a path of the image in every layer of one random network, the input first."""
    t, step = (np.arange(24) + 0.5) / 24, 1e-6
    x = path(t).T
    velocity = (path(t + step).T - path(t - step).T) / (2 * step)
    found = [np.linalg.norm(velocity, axis=0).mean()]
    for w, b in zip(np.broadcast_to(sigma_w, depth), np.broadcast_to(sigma_b, depth), strict=True):
        weights = rng.normal(size=(width, len(x))) * (w / math.sqrt(len(x)))
        h, pushed = weights @ x + b * rng.normal(size=(width, 1)), weights @ velocity
        velocity = (phi(h + step * pushed) - phi(h - step * pushed)) / (2 * step)
        x = phi(h)
        found.append(np.linalg.norm(velocity, axis=0).mean())
    return np.array(found)


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [("hardtanh", 2.0, 0.3), ("tanh", 2.5, 0.3), ("erf", 1.5, 0.2), ("gelu", 1.4, 0.3), ("silu", 1.5, 0.2)],
)
@pytest.mark.parametrize("kind", ["line", "circle off centre"])
def test_wide_networks_stretch_curves_as_predicted(name, sigma_w, sigma_b, kind):
    """Lengths of images of a line and of an off-centre circle at width 1000, layer by layer.

    Means over 8 networks, within 4 standard errors plus 0.5% for the width being finite.
    """
    rng, inputs, width, depth = np.random.default_rng(3), 50, 1000, 3
    a, b, c = np.linalg.qr(rng.normal(size=(inputs, 3)))[0].T * math.sqrt(inputs)
    path = Line(1.3 * a, 0.5 * a + b) if kind == "line" else Circle(a, b, 0.7 * a + 0.3 * c)
    phi = as_activation(name)
    runs = np.stack([speeds(phi, path, sigma_w, sigma_b, depth, rng, width) for _ in range(8)])
    ratios = runs[:, 1:] / runs[:, :1]
    predicted = length_growth(name, sigma_w, sigma_b, width=width, depth=depth, curve=path).lengths
    error = ratios.std(0, ddof=1) / math.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - predicted) < 4 * error + 0.005 * predicted).all()
    assert (error < 0.02 * predicted).all()


def test_lines_grow_less_than_circles_in_the_first_layer():
    """Saturation holds back what moves along the pre-activation itself."""
    for name in ("hardtanh", "tanh", "erf"):
        line, circle = (length_growth(name, 2.0, 0.1, curve=c).growth[0] for c in ("line", "circle"))
        assert line < circle


def test_table():
    """One row a layer, readout included; as text and as a picture the same numbers."""
    found = length_growth("tanh", 2.5, 0.3, width=20, depth=2, outputs=4)
    table = found.to_dataframe()
    assert list(table.columns) == ["layer", "growth", "length", "energy_growth", "error"]
    assert len(table) == 3
    lines = repr(found).splitlines()
    assert lines[0] == "growth of a curve's length, tanh, infinite width:"
    assert [float(line.split()[2]) for line in lines[2:]] == pytest.approx(found.lengths.tolist(), rel=1e-5)
    ax = found.plot()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), found.lengths)
    assert ax.get_ylabel() == "length over that of the input, infinite width"


def test_every_layer_may_have_gains_of_its_own():
    """ReLU: gains multiply; a tanh layer's gain acts in its place; one number is the same for all."""
    same, listed = (length_growth("tanh", s, 0.2, width=30, depth=3, outputs=2, q0=1.0) for s in (1.5, [1.5] * 4))
    np.testing.assert_array_equal(same.growth, listed.growth)
    relu = length_growth("relu", [1.0, 2.0, 0.5], width=[10, 20], inputs=10, outputs=3)
    unit = length_growth("relu", 1.0, width=[10, 20], inputs=10, outputs=3)
    np.testing.assert_allclose(relu.growth, [1.0, 2.0, 0.5] * unit.growth)
    np.testing.assert_allclose(relu.energy_growth, [1.0, 4.0, 0.25] * unit.energy_growth)
    first = length_growth("tanh", [1.5, 3.0], [0.2, 0.4], depth=2, q0=1.0)
    assert first.growth[0] == pytest.approx(same.growth[0])
    rng, path = np.random.default_rng(5), Circle([6.0, *np.zeros(35)], [0.0, 6.0, *np.zeros(34)])
    sigma_w, sigma_b = [1.5, 3.0], [0.2, 0.4]
    predicted = length_growth("tanh", sigma_w, sigma_b, width=1000, depth=2, curve=path).lengths
    runs = np.stack([speeds(as_activation("tanh"), path, sigma_w, sigma_b, 2, rng, 1000) for _ in range(6)])
    ratios = runs[:, 1:] / runs[:, :1]
    error = ratios.std(0, ddof=1) / math.sqrt(6)
    assert (np.abs(ratios.mean(0) - predicted) < 4 * error + 0.005 * predicted).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"width": 0}, "width must be a whole number from 1"),
        ({"width": 2.5}, "width must be a whole number from 1"),
        ({"depth": 0}, "depth must be a whole number from 1"),
        ({"width": [3, 4], "depth": 3}, "contradicts 2 widths"),
        ({"scaling": "he"}, "scaling must be"),
        ({"curve": "spiral"}, "there is no 'spiral'"),
        ({"curve": "spiral", "activation": "relu"}, "there is no 'spiral'"),
        ({"curve": Line([0.0, 1.0], [1.0, 0.0]), "inputs": 3}, "2 coordinates, but inputs=3"),
        ({"curve": Curve(lambda t: t.reshape(1).cos() + 3)}, "approximate another curve by a Polyline"),
        ({"q0": -1.0}, "q0 must be a finite number from 1e-100"),
        ({"sigma_w": -1.0}, "sigma_w must be a finite number from 1e-100"),
    ],
)
def test_bad_arguments(arguments, words):
    """Sizes, curves and gains that make no sense are refused."""
    with pytest.raises(InvalidInputError, match=words):
        length_growth(**({"activation": "tanh", "sigma_w": 1.0} | arguments))
