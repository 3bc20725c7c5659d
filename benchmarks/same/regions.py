"""Paths, planes and cells."""

from __future__ import annotations

import copy
import itertools
import math
import warnings

import numpy as np
import torch
from torch import nn

import netfold as nf
from same.networks import conv, dense, ends, exact_networks, numbers, seeded, ties
from same.results import SHORT, TEXT, Found, kept, plain, told


def lines() -> Found:
    """Straight lines: everything that a trace holds; certified too."""
    for name, net in exact_networks().items():
        x0, x1, x2 = ends(name)
        yield from told(f"{name}", nf.trace_path(net, nf.Line(x0, x1)), SHORT)
        yield from told(f"{name} far", nf.trace_path(nf.capture(net, shape=x0.shape), nf.Line(9 * x1, -7 * x2)), SHORT)
        if name not in ("hardsigmoid", "conv"):
            yield from told(f"{name} certified", nf.trace_path(net, nf.Line(x0, x2), certify=True), SHORT)
    for i, (a, b) in enumerate([((-1, -1), (1, 1)), ((-1, 0), (1, 0)), ((0, -1), (0, 2)), ((-2, 1), (1, 0.25))]):
        for certify in (False, True):
            yield from told(f"ties {i} {certify}", nf.trace_path(ties(), nf.Line(a, b), certify=certify), SHORT)


def curves() -> Found:
    """Polylines, arcs and circles, exactly."""
    for name in ("relu", "hardtanh", "leaky_relu", "one output", "residual", "conv"):
        net, (x0, x1, x2) = exact_networks()[name], ends(name, 1)
        paths = {"open": nf.Polyline([x0, x1, x2]), "closed": nf.Polyline([x0, x1, x2], closed=True)}
        paths |= {"arc": nf.Arc(x0, x1), "circle": nf.Circle(x0, x1), "centred": nf.Circle(x1, x2, center=x0)}
        for kind, path in paths.items():
            yield from told(f"{name} {kind}", nf.trace_path(net, path), SHORT, texts=name == "relu")
            yield from told(f"{name} {kind} count", nf.count_regions(net, path), "status", texts=name == "relu")
            yield f"{name} {kind} points", path(np.linspace(0, 1, 5))
        yield from told(f"{name} certified", nf.trace_path(net, paths["closed"], certify=name != "conv"), SHORT)


def smooth() -> Found:
    """Smooth networks and free curves, sampled."""
    x0, x1, x2 = ends("")
    free = nf.Curve(lambda t: torch.stack([torch.sin(3 * t), t * t, torch.cos(5 * t), 1 - t]))
    nets = {name: dense(name, sigma_w=2.0) for name in ("tanh", "gelu", "erf", "silu")} | {"relu": dense()}
    for name, net in nets.items():
        paths = {"line": nf.Line(x0, x1), "circle": nf.Circle(x0, x2), "curve": free, "arc": nf.Arc(x1, x2)}
        for kind in list(paths)[: 4 if name in ("tanh", "relu") else 1]:
            trace = nf.trace_path(net, paths[kind], method="sampled" if name == "relu" else "auto")
            yield from told(f"{name} {kind}", trace, SHORT)


def many() -> Found:
    """Many paths, many networks, tables and files."""
    net, points = dense("hardtanh", sigma_w=3.0), numbers(2, 8, 4, scale=2.0)
    pairs = [nf.Line(a, b) for a, b in itertools.pairwise(points)]
    mixed = [nf.Arc(*points[:2]), pairs[0], nf.Circle(*points[2:4]), nf.Polyline(points[:4])]
    nets = [dense("hardtanh", sigma_w=3.0, seed=seed) for seed in range(5)]
    found = {"lines": nf.trace_paths(net, pairs), "mixed": nf.trace_paths(net, mixed)}
    found |= {"ensemble line": nf.trace_ensemble(nets, pairs[0]), "ensemble lines": nf.trace_ensemble(nets, pairs[:5])}
    found |= {"ensemble circle": nf.trace_ensemble(nets, nf.Circle(*points[:2]))}
    for name, traces in found.items():
        yield from told(name, traces)
        yield f"{name} summary", traces.summary()
        yield f"{name} values", {m: traces.values(m) for m in ("length", "growth", "transitions")}
        yield from kept(name, traces)
    for name in ("relu", "residual", "conv"):
        yield from kept(name, nf.trace_path(exact_networks()[name], nf.Line(*ends(name)[:2])))


def planes() -> Found:
    """Partitions of planes."""
    layered = "regions regions_by_layer status areas linear_labels linear_regions class_of_region class_areas centroids"
    layered += " piece_areas classes region_of_piece hashes outline_edges output_maps"
    loaded = "regions regions_by_layer status areas class_of_region class_areas centroids hashes"
    cases = {name: exact_networks()[name] for name in ("relu", "hardtanh", "one output", "residual", "conv")}
    for name, net in cases.items():
        plane = nf.Plane.through(*ends(name, 3, 0.7))
        part = nf.partition_plane(net, plane)
        yield f"{name} plane", {"bounds": plane.bounds, "u": plane.u, "v": plane.v, "frame": plane.frame}
        yield from told(name, part, layered)
        yield f"{name} statistics", part.statistics()
        yield f"{name} polygons", {"first": part.polygons[:20], "after 1": len(part.polygons_after(0))}
        yield f"{name} patterns", [part.pattern(i) for i in range(min(5, part.regions))]
        yield from told(f"{name} neighbours", part.neighbours)
        at = np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.1], [9.0, 9.0]])
        edge = part.decision_boundary()
        yield from told(f"{name} boundary", edge, "length lengths")
        yield f"{name} boundary from", {"nearest": edge.nearest(at), "table": edge.to_dataframe()}
        yield f"{name} at", {"regions": part.region_at(at), "density": part.density(at[:2], 0.8)}
        yield from told(f"{name} count", nf.count_regions(net, plane), "status")
        yield from told(f"{name} count in bounds", nf.count_regions(net, plane, (0, 0.5, 0, 1)), "status", texts=False)
        if name not in ("hardtanh", "conv"):
            yield from kept(name, part, loaded)
    square = nf.Plane([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    yield from told("ties", nf.partition_plane(ties(), square, bounds=(-2, 2, -1, 3)), layered)


def captured() -> Found:
    """What a captured program says of a network, and whether the network is left as it was."""
    for name, net in exact_networks().items():
        before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
        program = nf.capture(net, shape=ends(name)[0].shape)
        names = "name input_shape output_shape parameters piecewise_linear"
        layers = [(layer.name, layer.op, layer.units) for layer in program.layers]
        yield name, {key: getattr(program, key) for key in names.split()} | {"layers": layers}
        same = all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
        yield f"{name} untouched", [same, not net.training, torch.equal(random, torch.get_rng_state())]


CELLS: dict[str, tuple[int, tuple[int, ...], str]] = {
    "m1": (1, (10, 10), "relu"),
    "m2": (2, (12, 10, 8), "relu"),
    "m2 hardtanh": (2, (8, 6), "hardtanh"),
    "m3": (3, (9, 8), "relu"),
    "m3 leaky": (3, (8, 7), "leaky_relu"),
    "m4": (4, (8, 7), "relu"),
    "m6": (6, (9, 4), "relu"),
    "m7": (7, (9, 3), "relu"),
    "m8 hardtanh": (8, (5, 3), "hardtanh"),
    "m10": (10, (8, 4), "relu"),
}
"""Inputs, widths and activation: up to 6 inputs go to one engine, more to the other."""


def cells() -> Found:
    """Counts of regions in R^m, boxes and polytopes."""
    for name, (inputs, width, activation) in CELLS.items():
        net = dense(activation, inputs, width, 2, seed=1)
        corner = nf.Polytope(np.vstack([-np.eye(inputs), np.ones((1, inputs))]), [*[0.5] * inputs, 2.0])
        domains = {"all": None, "box": nf.Box(-1.0, 1.5), "half": nf.Box([-math.inf] * inputs, 0.5), "corner": corner}
        for where, domain in domains.items():
            count = nf.count_regions(net, domain, inradius=where == "box")
            names = "status smallest_inradius" if where == "box" else "status"
            yield from told(f"{name} {where}", count, names, texts=name in ("m2", "m7"))
    yield from told("ties", nf.count_regions(ties()), "status")
    yield from told("convolution", nf.count_regions(small_conv(), nf.Box(-1.0, 1.0), shape=(1, 3, 3)), "status")
    yield from told("one thread", nf.count_regions(dense(inputs=3, width=(9, 8)), threads=1), "status")


def small_conv() -> nn.Module:
    """A convolution whose regions can be counted: 9 inputs."""
    return seeded(lambda: nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2), nn.ReLU()), 3)


def geometry() -> Found:
    """Regions one by one, and which lie beside which."""
    for name, wide in (("m2", 40), ("m2 hardtanh", 12), ("m3", 12), ("m7", 4)):
        inputs, width, activation = CELLS[name]
        net = dense(activation, inputs, width, 2, seed=1)
        for where, domain in (("all", None), ("box", nf.Box(-1.0, 1.5))):
            regions = sorted(nf.enumerate_regions(net, domain), key=lambda region: region.states.tolist())
            yield f"{name} {where} patterns", [region.states for region in regions]
            yield f"{name} {where} points", [region.interior_point for region in regions]
            for number, region in enumerate(regions[:: max(1, len(regions) // wide)]):
                names = "pattern weight bias halfspaces radius bounded"
                found = {key: plain(getattr(region, key)) for key in names.split()}
                yield f"{name} {where} {number}", found | {"volume": region.volume() if inputs < 4 else None}
            yield f"{TEXT}{name} {where}", repr(regions[0])
    nets = {"m2": dense(inputs=2, width=(8, 6), seed=1), "m3": dense("hardtanh", 3, (4, 3)), "ties": ties()}
    for name, net in nets.items():
        graph = nf.region_graph(net, nf.Box(-2.0, 2.0))
        counts = {"activation": graph.activation_regions, "linear": graph.linear_regions}
        sizes = {"edges": graph.graph.number_of_edges(), "linear edges": graph.linear_graph.number_of_edges()}
        yield f"graph {name}", {**counts, **sizes, "table": graph.to_dataframe(), "labels": graph.linear_labels}
        yield f"{TEXT}graph {name}", repr(graph)


def estimates() -> Found:
    """Estimates of counts, patterns at points, units that switch around points."""
    small, large = dense(inputs=2, width=(8, 6)), dense(inputs=6, width=(16, 16))
    domains = {"all": None, "box": nf.Box(-1.0, 1.0)}
    for (name, net), (where, domain) in itertools.product({"small": small, "large": large}.items(), domains.items()):
        found = nf.estimate_regions(net, domain, effort=4000, seed=1)
        yield from told(f"{name} {where}", found, "relative_error")
        yield from kept(f"{name} {where}", found)
    target = nf.estimate_regions(dense(inputs=8, width=(12, 8)), relative_error=0.3, effort=20000, seed=2)
    yield from told("target", target, "relative_error")
    points = numbers(4, 30, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nf.SaturationWarning)
        for name in ("relu", "hardtanh", "residual"):
            net = exact_networks()[name]
            yield from told(f"{name} patterns", nf.count_patterns(net, points), "coverage saturated")
            for rule in ("state", "sign"):
                found = nf.local_complexity(net, points, 0.3, 3, count=rule, seed=1)
                yield from told(f"{name} complexity {rule}", found, "total mean error")
            yield from kept(f"{name} complexity", found, "total mean error")
    yield from told(
        "conv complexity", nf.local_complexity(seeded(conv), numbers(5, 6, 1, 6, 6), 0.5), "total mean error"
    )
