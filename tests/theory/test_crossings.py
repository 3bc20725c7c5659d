"""Expected transitions: closed forms, Monte Carlo, and the Crofton identity."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.integrate import quad

from netfold.errors import InvalidInputError
from netfold.paths import Arc, Circle, Line, Polyline
from netfold.theory import (
    angular_length,
    as_activation,
    crossing_rate,
    expected_sign_transitions,
    kac_rice,
    mean_field,
)
from tests import cases

HE = math.sqrt(2)


def test_line_between_unit_vectors():
    """e_1 to e_2 in two dimensions, He variance, sigma_b = 1."""
    path = Line([1.0, 0.0], [0.0, 1.0])
    found = crossing_rate("relu", HE, 1.0, depth=5, curve=path)
    assert found.sign_transitions == pytest.approx([0.33333, 0.26772, 0.23005, 0.20483, 0.18643], abs=6e-6)
    np.testing.assert_array_equal(found.transitions, found.sign_transitions)


@pytest.mark.parametrize("reach", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("sigma_b", [0.3, 1.0])
def test_one_input(reach, sigma_b):
    """t in [-X, X], He variance: (2 / pi) atan(X / (sigma_b sqrt(l / 2))) in layer l."""
    found = crossing_rate("relu", HE, sigma_b, depth=5, curve=Line([-reach], [reach])).sign_transitions
    layer = np.arange(1, 6)
    assert found == pytest.approx(2 / np.pi * np.arctan(reach / (sigma_b * np.sqrt(layer / 2))), rel=1e-12)
    if reach == sigma_b == 1:
        assert found == pytest.approx([0.608, 0.500, 0.436, 0.392, 0.359], abs=6e-4)


def test_whole_line():
    """On all of R, a unit of any layer switches once on average."""
    found = crossing_rate("relu", HE, 0.5, depth=4, curve=Line([-1e7], [1e7]))
    assert found.transitions == pytest.approx(np.ones(4), abs=1e-6)


@pytest.mark.parametrize("path", ["arc", Arc([1.0, 0, 0], [0, 1.0, 0]), Line([1.0, 0, 0], [0, 1.0, 0])])
def test_half_a_flip_on_the_quarter_arc(path):
    """No biases, orthogonal ends of equal length, ReLU: 1/2 a unit in every layer, arc or line."""
    found = crossing_rate("relu", HE, depth=6, curve=path)
    assert found.transitions == pytest.approx(np.full(6, 0.5), rel=1e-10)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "hardtanh"])
def test_two_sign_changes_on_a_great_circle(name):
    """No biases: a first-layer unit changes sign exactly twice on any circle around 0."""
    found = crossing_rate(name, 1.7, curve=Circle([2.0, 0.0], [0.0, 2.0]))
    assert found.sign_transitions == pytest.approx([2.0])
    assert found.exact_layers == 1


@pytest.mark.parametrize("squared", [2, 8, 16])
def test_hard_tanh_on_a_circle(squared):
    """Sign changes 2 chi_1^((l - 1) / 2) a unit, switches 2 exp(-1 / (2 q*)) times that."""
    field = mean_field("hardtanh", math.sqrt(squared))
    found = crossing_rate("hardtanh", math.sqrt(squared), depth=5)
    signs = 2 * field.chi_1 ** (np.arange(5) / 2)
    assert found.sign_transitions == pytest.approx(signs)
    assert found.transitions == pytest.approx(signs * 2 * math.exp(-1 / (2 * field.q)))
    assert found.status == "converged"


def test_rate_at_a_level_is_its_definition():
    """Kac-Rice at level u: the density of h at u times E|speed| given h = u."""
    v, d, c, u = 1.7, 2.3, 0.8, -0.9
    mean, spread = c * u / v, math.sqrt(d - c * c / v)
    pace = quad(lambda s: abs(mean + spread * s) * math.exp(-s * s / 2) / math.sqrt(2 * math.pi), -12, 12)[0]
    expected = math.exp(-u * u / (2 * v)) / math.sqrt(2 * math.pi * v) * pace
    assert kac_rice(*np.array([[v], [d], [c]]), level=u)[0] == pytest.approx(expected, rel=1e-9)
    assert kac_rice(*np.array([[v], [d], [c]]))[0] == pytest.approx(math.sqrt(v * d - c * c) / (math.pi * v))


def test_rate_when_the_speed_is_certain():
    """h = a t with Gaussian a has speed h / t: at level u it passes with the density of |u| / |a|."""
    t, u = 2.0, 0.7
    rate = kac_rice(*np.array([[t * t], [1.0], [t]]), level=u)[0]
    assert rate == pytest.approx(u / t / t * math.exp(-(u**2) / (2 * t * t)) / math.sqrt(2 * math.pi))


@pytest.mark.parametrize("name", ["relu", "hardtanh", "tanh"])
def test_paths_add_up_and_reverse(name):
    """A polyline counts the sum over its lines, a line as much as its reverse."""
    a, b, c = np.array([1.0, 0.3]), np.array([-0.5, 1.0]), np.array([0.2, -2.0])
    options = {"sigma_w": 1.8, "sigma_b": 0.4, "depth": 3}
    first, second = (
        crossing_rate(name, curve=Line(a, b), **options),
        crossing_rate(name, curve=Line(c, b), **options),
    )
    both = crossing_rate(name, curve=Polyline([a, b, c]), **options)
    assert both.sign_transitions == pytest.approx(first.sign_transitions + second.sign_transitions, rel=1e-8)
    if name != "tanh":
        assert both.transitions == pytest.approx(first.transitions + second.transitions, rel=1e-8)
    else:
        assert np.isnan(both.transitions).all()


def test_closed_line_equals_the_integral():
    """The arctangent of straight lines is the integral of the rate sqrt(V D - C^2) / (pi V)."""
    a, b, sigma_b = np.array([1.0, -0.4]), np.array([0.3, 2.0]), 0.6
    found = crossing_rate("relu", 1.9, sigma_b, depth=3, curve=Line(a, b)).sign_transitions

    def rate(t, layer):
        x, dx = (1 - t) * a + t * b, b - a
        v, d, c = (1.9**2 * p / 2 for p in (x @ x, dx @ dx, x @ dx))
        v += sigma_b**2
        for _ in range(layer):
            v, d, c = sigma_b**2 + 1.9**2 / 2 * v, 1.9**2 / 2 * d, 1.9**2 / 2 * c
        return math.sqrt(v * d - c * c) / (math.pi * v)

    assert found == pytest.approx([quad(rate, 0, 1, args=(n,))[0] for n in range(3)], rel=1e-9)


def count_changes(values):
    """How often each column's entries differ from the next row's."""
    return (values[1:] != values[:-1]).sum(0)


@pytest.mark.parametrize("name", ["relu", "hardtanh"])
def test_first_layer_is_exact_at_any_width(name):
    """Units of a first layer of three inputs, counted on a fine grid of an off-centre circle."""
    rng, units, sigma_w, sigma_b = np.random.default_rng(8), 40_000, 2.0, 0.5
    path = Circle([1.5, 0.0, 0.3], [0.0, 1.0, 0.0], [0.4, 0.2, 0.1])
    weights = rng.normal(size=(units, 3)) * sigma_w / math.sqrt(3)
    # On a circle h = A cos + B sin + C crosses a level twice or not at all.
    a, b = weights @ path.u, weights @ path.v
    c = weights @ path.center + sigma_b * rng.normal(size=units)
    kinks = as_activation(name).kinks
    found = crossing_rate(name, sigma_w, sigma_b, curve=path)
    for levels, predicted in (((0.0,), found.sign_transitions), (kinks, found.transitions)):
        counts = sum(2.0 * (np.hypot(a, b) > np.abs(c - u)) for u in levels)
        assert abs(counts.mean() - predicted[0]) < 4 * counts.std() / math.sqrt(units)


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"), [("relu", HE, 0.5), ("hardtanh", 2.0, 0.3), ("tanh", 2.0, 0.3)]
)
def test_wide_networks_switch_as_predicted(name, sigma_w, sigma_b):
    """Sign changes and switches per unit on a line through networks of width 1000, counted on a fine grid.

    Means over 5 networks, within 4 standard errors plus 0.5% for the width being finite.
    """
    phi, rng, width, depth = as_activation(name), np.random.default_rng(1), 1000, 3
    a, b = np.linalg.qr(rng.normal(size=(20, 2)))[0].T * math.sqrt(20)
    path = Line(1.2 * a, b - 0.2 * a)
    t, runs = np.linspace(0, 1, 301), []
    for _ in range(5):
        z, row = path(t).T, []
        for _ in range(depth):
            weights = rng.normal(size=(width, len(z))) * (sigma_w / math.sqrt(len(z)))
            h = weights @ z + sigma_b * rng.normal(size=(width, 1))
            states = np.stack([np.greater(h.T, k) for k in phi.kinks or (0.0,)]).sum(0)
            row.append([count_changes(h.T > 0).mean(), count_changes(states).mean()])
            z = phi(h)
        runs.append(row)
    mean, error = np.mean(runs, 0), np.std(runs, 0, ddof=1) / math.sqrt(len(runs))
    found = crossing_rate(name, sigma_w, sigma_b, depth=depth, curve=path)
    for measured, off, predicted in zip(mean.T, error.T, (found.sign_transitions, found.transitions), strict=True):
        if np.isfinite(predicted).all():
            known = np.sqrt(predicted / (5 * width))
            assert (np.abs(measured - predicted) < 4 * np.maximum(off, known) + 0.005 * predicted).all()


@pytest.mark.parametrize(("name", "within"), [("W1", 0.08), ("L1", 0.15), ("L2", 0.2), ("H2", 0.2), ("H3", 0.2)])
def test_known_counts_of_transitions(name, within):
    """Networks with exactly known regions on a line, each of which ends with one transition, layer by layer.

    One draw each, of widths 2048 (W1), 256 (L1, L2, H2) and 100 (H3), He-scaled to strongly chaotic.
    """
    case, (_, line) = cases.CASES[name], cases.build(name)
    activation = "hardtanh" if name.startswith("H") else "relu"
    found = crossing_rate(activation, math.sqrt(case.variance), 0.1, len(case.regions), curve=line)
    counts = np.diff([1, *case.regions])
    np.testing.assert_allclose(counts, found.transitions * case.widths[1], rtol=within)


@pytest.mark.parametrize("biased", [False, True])
def test_crofton_identity(biased):
    """Sign changes of Gaussian readouts of a curve, at width 8: the angular length over pi, bias or not."""
    rng, k, sigma_w, sigma_b = np.random.default_rng(4), 8, 1.5, 0.7 if biased else 0.0
    corners = rng.normal(size=(40, k)) + 0.5
    readouts = 20_000
    values = corners @ (rng.normal(size=(k, readouts)) * sigma_w / math.sqrt(k))
    values += sigma_b * rng.normal(size=readouts)
    counts = count_changes(values > 0)
    angle = angular_length(corners, bias=sigma_b * math.sqrt(k) / sigma_w)
    predicted = expected_sign_transitions(angle)
    assert predicted.shape == (1,)
    assert abs(counts.mean() - predicted[0]) < 4 * counts.std() / math.sqrt(readouts)


def test_crofton_agrees_with_kac_rice():
    """In a wide network the next layer's sign changes are this layer's angular length over pi."""
    rng, width, sigma_w = np.random.default_rng(9), 2000, math.sqrt(8)
    q = mean_field("hardtanh", sigma_w).q
    s = np.linspace(0, 2 * np.pi, 2001)
    h = math.sqrt(q) * (rng.normal(size=(width, 1)) * np.cos(s) + rng.normal(size=(width, 1)) * np.sin(s))
    angle = angular_length(np.clip(h, -1, 1).T)
    predicted = crossing_rate("hardtanh", sigma_w, depth=2).sign_transitions[1]
    assert angle / np.pi == pytest.approx(predicted, rel=0.02)


def test_a_trace_or_its_numbers():
    """Angular lengths are taken from an array or from anything with layers that have them."""
    trace = SimpleNamespace(layers=[SimpleNamespace(angular_length=np.pi), SimpleNamespace(angular_length=1.0)])
    np.testing.assert_allclose(expected_sign_transitions(trace), [1.0, 1 / np.pi])
    np.testing.assert_allclose(expected_sign_transitions(np.array([np.pi, 1.0])), [1.0, 1 / np.pi])


def test_angular_length_of_tiny_and_opposite_steps():
    """Angles keep their digits from 1e-12 to almost pi, and do not depend on the distance from the centre."""
    for angle in (1e-12, 1e-6, 1.0, np.pi - 1e-6):
        points = [[3.0, 0.0], [7 * math.cos(angle), 7 * math.sin(angle)]]
        assert angular_length(points) == pytest.approx(angle, rel=1e-10)


def test_first_layer_scaling():
    """fan_in replaces the number of inputs in the first layer's variance, as a rescaled path would."""
    path, doubled = Line([1.0, 0.0], [0.0, 1.0]), Line([2.0, 0.0], [0.0, 2.0])
    narrow = crossing_rate("hardtanh", 1.5, 0.3, depth=3, curve=path, fan_in=8)
    wide = crossing_rate("hardtanh", 1.5, 0.3, depth=3, curve=doubled, fan_in=32)
    assert narrow.transitions == pytest.approx(wide.transitions)


def test_table():
    """One row a layer; the first is exact at every width."""
    table = crossing_rate("relu", HE, 0.1, depth=3).to_dataframe()
    assert table["exact"].tolist() == [True, False, False]
    assert list(table.columns) == ["layer", "sign_transitions", "transitions", "error", "exact"]
    found = crossing_rate("tanh", HE, 0.1, depth=3)
    assert "exact at every width in layer 1" in repr(found)
    assert repr(found).splitlines()[2].split() == ["1", f"{found.sign_transitions[0]:.6g}", "-"]
    ax = found.plot()
    assert [line.get_label() for line in ax.lines] == ["sign transitions"]
    assert len(crossing_rate("hardtanh", HE, 0.1, depth=3).plot().lines) == 2


def test_gains_of_single_layers():
    """Without biases, gains of a ReLU network do not move where units switch; biases weigh by the gains before."""
    path = Line([1.0, 0.3], [-0.5, 1.0])
    np.testing.assert_allclose(
        crossing_rate("relu", [1.0, 3.0, 0.2], depth=3, curve=path).transitions,
        crossing_rate("relu", HE, depth=3, curve=path).transitions,
    )
    one = crossing_rate("relu", [2.0, HE], [0.0, 0.5], depth=2, curve=path).transitions[1]
    other = crossing_rate("relu", [1.0, HE], [0.0, 0.25], depth=2, curve=path).transitions[1]
    assert one == pytest.approx(other)
    with pytest.raises(InvalidInputError, match="one for each of 3 layers"):
        crossing_rate("relu", [1.0, 2.0], depth=3, curve=path)


def test_bad_arguments():
    """A curve through 0 without biases, a point at the centre, no layer: refused, with the way out."""
    with pytest.raises(InvalidInputError, match="avoids 0, or sigma_b > 0"):
        crossing_rate("relu", HE, curve=Line([-1.0, -1.0], [1.0, 1.0]))
    with pytest.raises(InvalidInputError, match="avoids 0, or sigma_b > 0"):
        crossing_rate("hardtanh", HE, curve=Circle([1.0, 0.0], [0.0, 1.0], [1.0, 0.0]))
    with pytest.raises(InvalidInputError, match="depth must be a whole number from 1"):
        crossing_rate("relu", HE, depth=0)
    with pytest.raises(InvalidInputError, match="lies at the centre"):
        angular_length([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(InvalidInputError, match="at least two in a matrix"):
        angular_length([1.0, 0.0])
    with pytest.raises(InvalidInputError, match="must not be negative"):
        expected_sign_transitions([-1.0])
