"""Bounds, theory, and theory beside measurement."""

from __future__ import annotations

import itertools

import numpy as np

import netfold as nf
from same.networks import dense, ends, nonlinear, numbers
from same.results import TEXT, Found, told, tried


def bounds() -> Found:
    """Bounds on numbers of regions."""
    b = nf.bounds
    shapes = ((2, (10, 10, 10)), (3, (4, 7)), (10, (20, 30, 20)), (5, (5, 5)))
    relu = (b.raghu2017, b.montufar2017, b.serra2018_upper, b.serra2018_lower, b.montufar2014, b.pascanu2013)
    for inputs, widths in shapes:
        key = f"{inputs} {widths}"
        for bound in (*relu, b.arora2018, b.hinz2019, b.hanin_rolnick2019):
            yield f"{bound.__name__} {key}", tried(bound, inputs, widths)
        for unit, bound in itertools.product(("hardtanh", "leaky_relu", "abs"), (b.raghu2017, b.montufar2017)):
            yield f"{bound.__name__} {unit} {key}", bound(inputs, widths, unit)
        for name in b.HISTOGRAMS:
            yield f"hinz2019 {name} {key}", b.hinz2019(inputs, widths, name)
        for form in b.Form:
            yield f"raghu2017 {form.value} {key}", b.raghu2017(inputs, widths, form=form)
        for kind in b.Arrangement:
            yield f"zaslavsky {kind.value} {key}", b.zaslavsky(sum(widths), inputs, kind)
        maxout = (b.montufar2022_maxout_upper, b.montufar2022_maxout_lower, b.serra2018_maxout, b.montufar2014_maxout)
        for bound, rank in itertools.product(maxout, (2, 3)):
            yield f"{bound.__name__} {rank} {key}", tried(bound, inputs, widths, rank)
        for unit in ("relu", "hardtanh", "abs"):
            yield from told(f"table {unit} {key}", b.table(inputs, widths, unit), "upper lower")
        yield from told(f"table maxout {key}", b.table(inputs, widths, rank=3), "upper lower")
    layers = [b.Conv(3, 2, 1, 0), b.Conv(4, 2, 1, 0)]
    for bound in (b.xiong2020_upper, b.xiong2020_lower):
        yield bound.__name__, bound(4, 1, layers)
    yield "xiong2020", b.xiong2020(3, 1, 2, 1, 2)
    yield from told("chain", b.depth_chain(24, 3), "leading_holds_until leading_peak recursive_holds_until")
    yield "chain dataframe", b.depth_chain(24, 3, "hardtanh").to_dataframe()
    for name, net in nonlinear().items():
        yield from told(f"of {name}", b.of(net, shape=ends(name)[0].shape), "upper lower widths")
    yield from told("of a line", b.of(dense(), dimension=1), "upper lower widths")


def theory() -> Found:
    """Theory of random networks."""
    t, settings = nf.theory, ((1.0, 0.0), (1.6, 0.0), (2.5, 0.3), (0.7, 0.1))
    known = ("relu", "leaky_relu", "hardtanh", "abs", "tanh", "erf", "gelu", "silu", "linear", "relu6", "softplus")
    for name in (*known, "sigmoid", "hardsigmoid"):
        try:
            activation = t.as_activation(name)
        except nf.InvalidInputError as error:
            yield f"{TEXT}{name} unknown", str(error)
            continue
        yield f"{name} critical", [tried(t.critical_sigma_w, activation, b) for b in (0.0, 0.2, 0.5)]
        for w, b in settings:
            field = t.mean_field(name, w, b)
            yield from told(f"{name} {w} {b}", field)
            yield f"{name} {w} {b} map", field.correlation_map(np.array([-0.5, 0.0, 0.3, 0.9]))
    line = nf.Line(*numbers(6, 2, 20))
    for name in ("relu", "hardtanh", "tanh", "leaky_relu"):
        for curve in ("circle", line):
            key = f"{name} {'circle' if curve == 'circle' else 'line'}"
            yield from told(f"growth {key}", t.length_growth(name, 2.0, 0.1, 30, 4, inputs=20, curve=curve), "status")
            if name not in ("linear",):
                yield from told(f"crossings {key}", t.crossing_rate(name, 2.0, 0.1, 4, curve=curve), "status")
        yield f"growth {name} wide", t.length_growth(name, 1.8, 0.0, depth=3).to_dataframe()
        yield from told(f"curvature {name}", t.curvature_growth(name, 1.8, 0.0, 4, q=1.0))
    yield "growth bounds", {k: t.raghu2017_growth(k, 100, 2.0, 0.1) for k in ("relu", "hardtanh")}
    yield "growth after 2017", [t.hanin2022([10, 20, 30], 5), t.price_tanner2019(1.5, 0.5)]
    diagram = t.phase_diagram("tanh", [0.5, 1.0, 1.5, 2.0], [0.0, 0.3])
    yield from told("phases", diagram)
    yield "phases xarray", diagram.to_xarray()
    circle = np.linspace(0, 2 * np.pi, 40)
    yield "angular", t.angular_length(np.stack([np.cos(circle), np.sin(circle), 0.3 + 0 * circle], 1))
    yield "sign transitions", t.expected_sign_transitions(nf.trace_path(dense(sigma_b=0.0), nf.Line(*ends("")[:2])))


def diagnosis() -> Found:
    """The theory of given networks, and measurement beside it."""
    nets = nonlinear() | {"tanh": dense("tanh", sigma_w=2.0), "ordered": dense("tanh", sigma_w=0.7, width=[60] * 4)}
    for name, net in nets.items():
        found = nf.diagnose(net, ends(name)[0])
        yield from told(name, found, "verdict random trainable_depth")
        yield f"{name} dataframe", found.to_dataframe()
    wide = {"relu": dense("relu", 20, (60, 60), 5), "hardtanh": dense("hardtanh", 20, (60, 60), 5, sigma_w=3.0)}
    for (name, net), path in itertools.product(wide.items(), (nf.Line, nf.Circle)):
        paths = [path(*numbers(seed, 2, 20)) for seed in range(3)]
        key = f"compare {name} {path.__name__}"
        yield from told(f"{key} one", nf.trace_path(net, paths[0]).compare(paths[0], net))
        yield from told(key, nf.trace_paths(net, paths).compare(paths, nf.diagnose(net)))
        nets = [dense(name, 20, (60, 60), 5, sigma_b=0.1, sigma_w=1.5, seed=seed) for seed in range(6)]
        law = {"activation": name, "sigma_w": 1.5, "sigma_b": 0.1, "draws": "networks"}
        found = nf.trace_ensemble(nets, paths[0]).compare(paths[0], **law)
        yield from told(f"{key} networks", found)
        yield f"{key} dataframe", found.to_dataframe()
