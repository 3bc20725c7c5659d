"""Mean field: published fixed points, limits, depth scales, and simulations of wide networks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netfold.errors import InvalidInputError
from netfold.theory import Custom, Phase, Status, as_activation, critical_sigma_w, mean_field

SETTINGS = {  # activation: (sigma_w, sigma_b) with a finite fixed point
    "relu": (1.3, 0.3),
    "leaky_relu": (1.35, 0.2),
    "hardtanh": (2.0, 0.3),
    "linear": (0.9, 0.3),
    "tanh": (2.5, 0.3),
    "erf": (1.8, 0.2),
    "gelu": (1.2, 0.5),
    "silu": (1.3, 0.5),
}


def selu(h):
    """Scaled exponential linear unit with the published constants."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * np.where(h > 0, h, alpha * np.expm1(np.minimum(h, 0)))


@pytest.mark.parametrize(
    ("sigma_w", "q", "chi_1", "chi_2"),
    [
        (1.3, 0.607047, 0.939807, 0.543472),
        (2.5, 4.079124, 1.585225, 1.196041),
        (4.0, 12.604149, 2.367261, 1.857176),
    ],
)
def test_tanh_fixed_points(sigma_w, q, chi_1, chi_2):
    """q*, chi_1 and chi_2 of the three networks of Poole et al. 2016 (tanh, sigma_b = 0.3)."""
    field = mean_field("tanh", sigma_w, 0.3)
    assert (field.q, field.chi_1, field.chi_2) == pytest.approx((q, chi_1, chi_2), abs=6e-7)
    assert field.status == Status.CONVERGED
    assert field.error < 1e-12


@pytest.mark.parametrize(
    ("squared", "q", "growth"),
    [
        (2, 1.052247, 1.157903),
        (4, 2.764975, 1.345241),
        (8, 6.335627, 1.571864),
        (16, 13.71883, 1.845336),
        (3, None, 1.263146),
        (64, None, 2.568303),
    ],
)
def test_hard_tanh_fixed_points(squared, q, growth):
    """q* and the growth sqrt(chi_1) of hard-tanh networks without biases."""
    field = mean_field("hardtanh", math.sqrt(squared))
    assert field.growth == pytest.approx(growth, abs=6e-7)
    assert q is None or field.q == pytest.approx(q, abs=6e-6)
    assert field.phase == Phase.CHAOTIC
    assert field.c == 0


def test_erf_fixed_point():
    """Erf, sigma_w^2 = 2, no biases."""
    field = mean_field("erf", math.sqrt(2))
    assert (field.q, field.chi_1) == pytest.approx((0.880751, 1.197365), abs=6e-7)


def test_selu_keeps_unit_moments():
    """SELU's constants make length 1 a fixed point of sigma_w = 1, sigma_b = 0 (Klambauer et al. 2017)."""
    assert mean_field(selu, 1.0).q == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(
    ("name", "q", "bias_variance", "weight_variance"),
    [
        ("gelu", (3 + math.sqrt(17)) / 2, 0.17292239, 1.98305826),
        ("silu", 14.32017362, 0.55514317, 1.98800468),
    ],
)
def test_half_stable_points_of_gelu_and_silu(name, q, bias_variance, weight_variance):
    """Both susceptibilities are 1 at the published half-stable points (Roberts, Yaida and Hanin 2022)."""
    m = as_activation(name).moments(np.array([q]))
    assert m.square_slope[0] == pytest.approx(m.slope[0], rel=1e-9)
    assert 1 / m.slope[0] == pytest.approx(weight_variance, abs=5e-9)
    assert q - m.square[0] / m.slope[0] == pytest.approx(bias_variance, abs=2e-8)


def test_relu_correlation_map():
    """The correlation of two orthogonal inputs, layer by layer, at He's gain (Cho and Saul's kernel)."""
    field, c, seen = mean_field("relu", math.sqrt(2)), 0.0, []
    for _ in range(5):
        c = field.correlation_map(c)
        seen.append(c)
    assert seen == pytest.approx([0.318310, 0.493731, 0.604826, 0.680954, 0.735946], abs=6e-7)
    grid = np.linspace(-1, 1, 21)
    closed = (np.sqrt(1 - grid**2) + (np.pi - np.arccos(grid)) * grid) / np.pi
    np.testing.assert_allclose(field.correlation_map(grid), closed, atol=1e-14)


@pytest.mark.parametrize(
    ("sigma_w", "sigma_b", "q", "status", "phase"),
    [
        (math.sqrt(2), 0.0, math.nan, Status.EVERY, Phase.CRITICAL),
        (math.sqrt(2), 0.1, math.inf, Status.DIVERGES, Phase.CRITICAL),
        (2.0, 0.0, math.inf, Status.DIVERGES, Phase.CHAOTIC),
        (2.0, 0.5, math.inf, Status.DIVERGES, Phase.CHAOTIC),
        (1.0, 0.0, 0.0, Status.CONVERGED, Phase.ORDERED),
        (1.0, 0.5, 0.5, Status.CONVERGED, Phase.ORDERED),
    ],
)
def test_relu_has_a_fixed_point_only_below_he_gain(sigma_w, sigma_b, q, status, phase):
    """q* = sigma_b^2 / (1 - sigma_w^2 / 2) below, none above, every length at it; chi_1 = sigma_w^2 / 2."""
    field = mean_field("relu", sigma_w, sigma_b)
    assert field.q == pytest.approx(q, nan_ok=True)
    assert (field.status, field.phase) == (status, phase)
    assert field.chi_1 == pytest.approx(sigma_w**2 / 2)
    assert field.c == 1
    assert field.status.advice


def test_signals_that_die_or_grow():
    """Without biases tanh dies below gain 1, keeping the inputs' correlations; GELU grows above 2."""
    dying = mean_field("tanh", 0.9)
    assert (dying.q, dying.chi_1, dying.phase) == (0.0, pytest.approx(0.81), Phase.ORDERED)
    assert math.isnan(dying.c)
    np.testing.assert_allclose(dying.correlation_map(np.array([-0.4, 0.8])), [-0.4, 0.8], atol=1e-9)
    growing = mean_field("gelu", 2.1)
    assert (growing.q, growing.chi_1) == (math.inf, pytest.approx(2.1**2 / 2))


def test_gelu_has_two_attractors():
    """Between its two attractors, where a signal ends depends on where it starts."""
    assert mean_field("gelu", 1.5, 0.05, q0=0.01).q < 0.1
    assert mean_field("gelu", 1.5, 0.05, q0=100.0).q == math.inf


def test_a_bump_settles_where_its_length_map_falls():
    """E phi^2 falls with q at most like 1 / sqrt(q), so even a bump's fixed point is stable and reached."""
    phi = Custom(lambda h: 5.0 * h * np.exp(-(h**2)))
    field, q = mean_field(phi, 12.0, 0.1), np.array([1.0])
    slope = 12.0**2 * phi.moments(np.array([field.q])).square_slope[0]
    assert -0.5 <= slope < 0
    for _ in range(80):
        q = 12.0**2 * phi.square(q) + 0.1**2
    assert q[0] == pytest.approx(field.q, rel=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_fixed_points_are_fixed(name):
    """Length and correlation maps give q* and c* back, and iterating them from elsewhere leads there."""
    sigma_w, sigma_b = SETTINGS[name]
    field, phi = mean_field(name, sigma_w, sigma_b), as_activation(name)
    q = np.array([0.3])
    for _ in range(400):
        q = sigma_w**2 * phi.square(q) + sigma_b**2
    assert q[0] == pytest.approx(field.q, rel=1e-9)
    c = 0.5
    for _ in range(400):
        c = field.correlation_map(c)
    assert c == pytest.approx(field.c, abs=1e-9)
    assert field.correlation_map(1.0) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("name", SETTINGS)
def test_depth_scales_are_rates_of_approach(name):
    """Close to the fixed point, a step shrinks the distances of q and c by exp(-1 / xi)."""
    sigma_w, sigma_b = SETTINGS[name]
    field, phi = mean_field(name, sigma_w, sigma_b), as_activation(name)
    q = field.q * np.array([1 - 1e-5, 1 + 1e-5])
    after = sigma_w**2 * phi.square(q) + sigma_b**2
    shrink = abs(after[1] - after[0]) / (q[1] - q[0])
    assert shrink == pytest.approx(math.exp(-1 / field.xi_q), rel=1e-6)
    near = field.c + np.array([-1e-6, 0.0])
    moved = field.correlation_map(near)
    assert (moved[1] - moved[0]) / 1e-6 == pytest.approx(math.exp(-1 / field.xi_c), rel=3e-3)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(scale=st.floats(0.2, 5.0), sigma_w=st.floats(0.5, 4.0), sigma_b=st.floats(0.05, 1.0))
def test_scaling_the_activation_against_the_gain_changes_nothing(scale, sigma_w, sigma_b):
    """A phi with gain sigma_w / a is the same network as phi with gain sigma_w."""
    field = mean_field("tanh", sigma_w, sigma_b)
    scaled = mean_field(Custom(lambda h: scale * np.tanh(h)), sigma_w / scale, sigma_b)
    assert scaled.q == pytest.approx(field.q, rel=1e-8)
    assert (scaled.chi_1, scaled.chi_2) == pytest.approx((field.chi_1, field.chi_2), rel=1e-7)
    assert scaled.phase == field.phase


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("tanh", 1.0),
        ("hardtanh", 1.0),
        ("erf", math.sqrt(math.pi) / 2),
        ("relu", math.sqrt(2)),
        ("leaky_relu", math.sqrt(2 / (1 + 0.01**2))),
        ("linear", 1.0),
    ],
)
def test_critical_gain_without_biases(name, gain):
    """1 / |phi'(0)| for smooth odd functions, sqrt(2 / (1 + slope^2)) for the ReLU family."""
    assert critical_sigma_w(name) == pytest.approx(gain, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "bias_variance", "squared"),
    [
        ("tanh", 0.05, 1.76095),
        ("tanh", 0.1, 1.98607),
        ("hardtanh", 0.05, 1.16554),
        ("hardtanh", 0.1, 1.26341),
    ],
)
def test_critical_gain_with_biases(name, bias_variance, squared):
    """Squared critical gains of saturating networks with biases."""
    assert critical_sigma_w(name, math.sqrt(bias_variance)) ** 2 == pytest.approx(squared, abs=6e-6)


@pytest.mark.parametrize(
    ("name", "sigma_b"),
    [("tanh", 0.7), ("hardtanh", 0.4), ("erf", 1.0), ("gelu", 0.5), ("silu", 0.9), (selu, 1.0)],
)
def test_the_critical_gain_separates_the_phases(name, sigma_b):
    """At the critical gain chi_1 = 1, xi_c infinite; a little less is ordered, a little more chaotic."""
    gain = critical_sigma_w(name, sigma_b)
    assert mean_field(name, gain, sigma_b).phase == Phase.CRITICAL
    assert mean_field(name, gain, sigma_b).xi_c == math.inf
    assert mean_field(name, 0.98 * gain, sigma_b).phase == Phase.ORDERED
    assert mean_field(name, 1.02 * gain, sigma_b).phase == Phase.CHAOTIC


def softplus(h):
    """log(1 + exp(h))."""
    return np.logaddexp(h, 0.0)


def test_softplus_is_critical_where_its_signal_starts_to_grow():
    """Like ReLU with biases: at sqrt(2) the signal grows without bound and chi_1 tends to 1."""
    assert critical_sigma_w(softplus, 0.3) == pytest.approx(math.sqrt(2), abs=1e-9)
    assert mean_field(softplus, math.sqrt(2), 0.3).status == Status.DIVERGES


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_no_critical_gain_where_the_phase_jumps(name):
    """Without biases GELU and SiLU jump from dying to growing signals; the error says what helps."""
    with pytest.raises(InvalidInputError, match=r"sigma_b of at least about 0\.\d"):
        critical_sigma_w(name)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sigma_w": 0.0}, "sigma_w must be a finite number from 1e-100 .* got 0.0"),
        ({"sigma_w": math.nan}, "sigma_w must be a finite number from 1e-100"),
        ({"sigma_b": -0.1}, "sigma_b must be a finite number from 0"),
        ({"q0": 0.0}, "q0 must be a finite number from 1e-100"),
        ({"activation": "nonsense"}, "there is no"),
    ],
)
def test_bad_arguments(wrong, words):
    """Gains out of range and unknown activations are refused by name."""
    with pytest.raises(InvalidInputError, match=words):
        mean_field(**({"activation": "tanh", "sigma_w": 1.0} | wrong))


def test_to_dict_is_plain():
    """The record holds plain numbers and strings; the data frame is one row of them, the text says what they mean."""
    record = mean_field("tanh", 1.3, 0.3).to_dict()
    assert record["activation"] == "tanh"
    assert record["phase"] == "ordered"
    assert all(isinstance(v, (str, float)) for v in record.values())
    field = mean_field("tanh", 1.3, 0.3)
    assert field.to_dataframe().to_dict("records") == [record]
    assert "tanh, sigma_w = 1.3, sigma_b = 0.3: ordered" in repr(field)
    assert f"{field.q:.6g}" in repr(field)


def simulate(phi, sigma_w, sigma_b, q0, rng, width=1000, depth=5):
    """One wide network, layer by layer: variance of h, squared stretch of a displacement, covariance.

    The displacement is perpendicular to the first input; the second input has cosine 0.5 with it.
    """
    frame = np.linalg.qr(rng.normal(size=(width, 3)))[0] * math.sqrt(width * q0)
    x, velocity = np.stack([frame[:, 0], 0.5 * frame[:, 0] + math.sqrt(0.75) * frame[:, 1]], 1), frame[:, 2:]
    rows, step = [], 1e-6
    for _ in range(depth):
        weights = rng.normal(size=(width, width)) * (sigma_w / math.sqrt(width))
        h = weights @ x + sigma_b * rng.normal(size=(width, 1))
        pushed = weights @ velocity
        speed = (phi(h[:, :1] + step * pushed) - phi(h[:, :1] - step * pushed)) / (2 * step)
        stretch = (speed**2).sum() / (velocity**2).sum()
        rows.append([(h[:, 0] ** 2).mean(), stretch, (h[:, 0] * h[:, 1]).mean()])
        x, velocity = phi(h), speed
    return np.array(rows)


@pytest.mark.parametrize("name", SETTINGS)
def test_wide_networks_behave_as_predicted(name):
    """At width 1000: length stays at q*, displacements grow by chi_1, correlations follow their map.

    Means over layers and 12 networks, within 4 standard errors plus 0.5% for the width being finite.
    """
    sigma_w, sigma_b = SETTINGS[name]
    field, phi, rng = mean_field(name, sigma_w, sigma_b), as_activation(name), np.random.default_rng(11)
    q0 = (field.q - sigma_b**2) / sigma_w**2
    runs = np.stack([simulate(phi, sigma_w, sigma_b, q0, rng) for _ in range(12)])
    c = [(sigma_w**2 * 0.5 * q0 + sigma_b**2) / field.q]
    while len(c) < runs.shape[1]:
        c.append(field.correlation_map(c[-1]))
    scale = np.array([field.q, field.chi_1, field.q])
    predicted = np.stack([np.ones_like(c), np.ones_like(c), c], 1)
    off = (runs / scale - predicted).mean(1)
    error = off.std(0, ddof=1) / math.sqrt(len(off))
    assert (error < 0.02).all()
    assert (np.abs(off.mean(0)) < 4 * error + 0.005).all()
