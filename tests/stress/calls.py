"""Calls of public names with one argument that is no good: ``python -m tests.stress.calls``, told cases line by line.

A call may give a result, or an error of netfold's family; nothing else, and neither without end nor with memory without
bound. Python's own errors about arguments that are missing or unknown are not tried.
"""

from __future__ import annotations

import inspect
import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import netfold as nf
from tests.stress.processes import hear, say

ROOM = 3 * 2**30
"""Bytes that a call may take beyond what the process has."""

Values = dict[str, Any]


class Target(NamedTuple):
    """Something to call, and arguments with which it works."""

    call: Callable[..., Any]
    good: Values


class Hidden(nn.Module):
    """A module without parameters."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()


class Odd(nn.Module):
    """A module that gives no tensor."""

    def forward(self, x: torch.Tensor) -> str:
        return "no tensor"


def _model(inputs: int = 3, **options: Any) -> nn.Sequential:
    return nf.random_network(inputs, 4, 2, 2, sigma_b=0.5, **options)


def _spoilt() -> nn.Module:
    model = _model()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    return model


def _meta() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2, device="meta"), nn.ReLU())


BAD: dict[str, Callable[[], Any]] = {
    "None": lambda: None, "True": lambda: True, "empty text": lambda: "", "text": lambda: "nonsense",
    "bytes": lambda: b"nonsense", "null byte": lambda: "a\0b", "0": lambda: 0, "-1": lambda: -1, "1.5": lambda: 1.5,
    "2.0": lambda: 2.0, "1": lambda: 1, "0.5": lambda: 0.5,
    "nan": lambda: float("nan"), "inf": lambda: float("inf"), "-inf": lambda: float("-inf"), "1e30": lambda: 1e30,
    "1e308": lambda: 1e308, "5e-324": lambda: 5e-324, "10**30": lambda: 10**30, "-10**30": lambda: -(10**30),
    "10**400": lambda: 10**400, "2**63": lambda: 2**63, "2**31": lambda: 2**31, "1j": lambda: 1j,
    "Fraction": lambda: Fraction(1, 3), "Decimal NaN": lambda: Decimal("nan"), "empty list": list, "empty tuple": tuple,
    "dict": dict, "a dict": lambda: {"a": 1}, "set": lambda: {1, 2}, "object": object, "function": lambda: print,
    "lambda": lambda: lambda x: x, "class": lambda: int, "module class": lambda: nn.ReLU, "generator": lambda: (i for i in range(3)),
    "ragged": lambda: [[1.0, 2.0, 3.0], [1.0]], "texts": lambda: ["a", "b"], "Nones": lambda: [None, None],
    "[nan]": lambda: [float("nan")] * 3, "[10**400]": lambda: [10**400] * 3, "[0]": lambda: [0], "[-1, -1]": lambda: [-1, -1],
    "[1, 2, 3]": lambda: [1, 2, 3], "[10**30]": lambda: [10**30], "[True]": lambda: [True], "[0.5]": lambda: [0.5],
    "[[]]": lambda: [[]], "empty array": lambda: np.array([]), "no rows": lambda: np.zeros((0, 3)), "0-d": lambda: np.zeros(()),
    "a text array": lambda: np.array(["a", "b"]), "objects": lambda: np.array([None, object()], object),
    "complex array": lambda: np.ones((4, 3), complex), "bool array": lambda: np.ones((4, 3), bool), "7 numbers": lambda: np.ones(7),
    "4 axes": lambda: np.ones((2, 3, 4, 5)), "NaN rows": lambda: np.full((4, 3), np.nan), "dates": lambda: np.zeros(3, "M8[D]"),
    "int8 rows": lambda: np.ones((4, 3), np.int8), "records": lambda: np.zeros(3, [("a", float)]),
    "huge numbers": lambda: np.full((4, 3), 1e308), "masked": lambda: np.ma.masked_all((4, 3)),
    "vast view": lambda: np.broadcast_to(0.0, (2**40, 3)), "frame": lambda: pd.DataFrame({"a": [1.0, 2.0]}),
    "tensor": lambda: torch.ones(4, 3), "tensor NaN": lambda: torch.full((4, 3), float("nan")), "tensor of 7": lambda: torch.ones(7),
    "complex tensor": lambda: torch.ones(4, 3, dtype=torch.complex64), "empty tensor": lambda: torch.empty(0, 3),
    "sparse tensor": lambda: torch.eye(3).to_sparse(), "meta tensor": lambda: torch.empty(4, 3, device="meta"),
    "bool tensor": lambda: torch.ones(4, 3, dtype=torch.bool), "needs gradient": lambda: torch.ones(4, 3, requires_grad=True),
    "scalar tensor": lambda: torch.tensor(2.0), "bfloat16": lambda: torch.ones(4, 3, dtype=torch.bfloat16),
    "dtype": lambda: torch.int64, "device": lambda: "cuda:7", "no device": lambda: "nonsense:0",
    "training": lambda: _model().train(), "no parameters": Hidden, "identity": nn.Identity, "odd module": Odd,
    "module list": lambda: nn.ModuleList([nn.Linear(3, 2)]), "NaN weights": _spoilt, "meta module": _meta,
    "another input": lambda: _model(5), "lazy": lambda: nn.Sequential(nn.LazyLinear(3), nn.ReLU()), "lstm": lambda: nn.LSTM(3, 3),
    "smooth": lambda: _model(activation="tanh"), "double": lambda: _model(dtype=torch.float64), "linear": lambda: nn.Linear(3, 2).eval(),
    "line": lambda: nf.Line([0.0] * 3, [1.0] * 3), "short line": lambda: nf.Line([0.0], [1.0]), "circle": lambda: nf.Circle([1.0, 0, 0], [0, 1.0, 0]),
    "plane": lambda: nf.Plane([0.0] * 5, np.eye(5)[0], np.eye(5)[1]), "box": lambda: nf.Box(0.0, 1.0), "wrong box": lambda: nf.Box([0.0] * 5, 1.0),
    "polytope": lambda: nf.Polytope(np.eye(5), np.ones(5)), "nobody's file": lambda: "/nonexistent/file", "folder": lambda: ".",
    "device file": lambda: "/dev/null", "a file": lambda: "a file.txt", "long name": lambda: "x" * 5000, "Path": lambda: Path("nonsense"),
    "range": lambda: range(0), "lines": lambda: [nf.Line([0.0] * 3, [1.0] * 3)] * 2,
}  # fmt: skip
"""Values that are no good for most arguments, by name; where one is good, the call just works."""


def targets(few: bool = False) -> dict[str, Target]:
    """Everything public that takes arguments; or networks, paths, domains and traces alone."""
    model, data = _model(), np.random.default_rng(0).normal(size=(12, 3))
    labels = np.arange(12) % 2
    tensors = torch.from_numpy(data).float(), torch.from_numpy(labels)
    line = nf.Line(data[0], data[1])
    plane = nf.Plane.through(*data[:3])
    found: dict[str, Target] = {}

    def add(name: str, call: Callable[..., Any], /, **good: Any) -> None:
        found[name] = Target(call, good)

    def methods(name: str, result: Any, /, **calls: Values) -> None:
        for method, good in calls.items():
            add(f"{name}.{method}", getattr(result, method), **good)

    saved: dict[str, Values] = {"save": {"path": "saved.nc"}}
    add("random_network", nf.random_network, inputs=3, width=4, depth=2, outputs=2, activation="relu", sigma_w=1.4,
        sigma_b=0.5, scaling="fan_in", seed=0, dtype=torch.float32)  # fmt: skip
    add("capture", nf.capture, model=model, point=data[0], shape=None)
    add("capture of a shape", nf.capture, model=model, shape=(3,))
    program = nf.capture(model, shape=(3,))
    methods("Program", program, __call__={"points": tensors[0].double()}, points={"values": data, "what": "points"},
            images={"points": tensors[0].double()})  # fmt: skip
    add("Line", nf.Line, x0=data[0], x1=data[1])
    add("Polyline", nf.Polyline, points=data, closed=False)
    add("Arc", nf.Arc, x0=data[0], x1=data[1])
    add("Circle", nf.Circle, u=data[0], v=data[1], center=data[2])
    add("Curve", nf.Curve, function=lambda t: torch.stack([t, t * t, t]))
    add("Plane", nf.Plane, origin=data[0], u=data[1], v=data[2], bounds=(0, 1, 0, 1))
    methods("Plane", plane, through={"a": data[0], "b": data[1], "c": data[2], "margin": 0.25},
            __call__={"a": 0.5, "b": 0.5}, coordinates={"points": data})  # fmt: skip
    curve = nf.Curve(lambda t: torch.stack([t, t * t, t]))
    for path in (line, nf.Polyline(data), nf.Arc(data[0], data[1]), nf.Circle(data[0], data[1]), curve):
        methods(type(path).__name__, path, __call__={"t": [0.0, 0.5]})
    add("Box", nf.Box, low=[0.0] * 3, high=1.0)
    add("Polytope", nf.Polytope, normals=np.eye(3), offsets=np.ones(3))
    methods("Box", nf.Box(0.0, 1.0), limits={"shape": (3,)})
    methods("Polytope", nf.Polytope(np.eye(3), np.ones(3)), half_spaces={"shape": (3,)})

    add("trace_path", nf.trace_path, model=model, path=line, method="auto", certify=False)
    add("trace_paths", nf.trace_paths, model=model, paths=[line], method="auto", certify=False, progress=False)
    add(
        "trace_ensemble", nf.trace_ensemble, networks=[model, _model(seed=1)], paths=line, method="auto", progress=False
    )
    trace = nf.trace_path(model, line)
    traces = nf.trace_paths(model, [line, nf.Line(data[2], data[3])], progress=False)
    traces.save("traces.nc")
    trace.save("trace.nc")
    comparing = {"paths": line, "law": None, "activation": "relu", "sigma_w": 1.4, "sigma_b": 0.5, "draws": "paths"}
    methods("Trace", trace, **saved, load={"path": "trace.nc", "group": None}, compare=comparing,
            plot={"ax": None, "classes": ("a", "b")})  # fmt: skip
    add("Traces", nf.Traces, traces=[trace, trace])
    methods("Traces", traces, **saved, load={"path": "traces.nc", "group": None}, values={"measure": "transitions"},
            compare={**comparing, "paths": [line, nf.Line(data[2], data[3])]}, plot={"measure": "transitions", "ax": None})  # fmt: skip

    if few:
        return found
    add("partition_plane", nf.partition_plane, model=model, plane=plane, bounds=(0, 1, 0, 1))
    part = nf.partition_plane(model, plane)
    part.save("partition.nc")
    methods("Partition", part, **saved, load={"path": "partition.nc", "group": None}, ancestors={"layer": 0},
            pattern={"region": 0}, polygons_after={"layer": 0}, region_at={"points": plane.coordinates(data)},
            density={"points": plane.coordinates(data), "radius": 0.3}, explore={"path": "partition.html", "classes": ("a", "b")},
            plot={"color": "class", "ax": None, "layers": 1, "output": 0, "points": [[0.5, 0.5]], "labels": ("a",),
                  "classes": ("a", "b")}, plot_layers={"most": 2})  # fmt: skip
    add("count_regions", nf.count_regions, model=model, domain=None, bounds=None, shape=(3,), threads=1,
        checkpoint="count.json", progress=False, client=None, inradius=False)  # fmt: skip
    add("count_regions on a plane", nf.count_regions, model=model, domain=plane, bounds=(0, 1, 0, 1))
    methods("CountResult", nf.count_regions(model, threads=1), **saved, load={"path": "saved.nc", "group": None})
    add("estimate_regions", nf.estimate_regions, model=model, domain=None, relative_error=None, effort=2000,
        confidence=0.95, shape=(3,), seed=0)  # fmt: skip
    add("estimate_regions to an error", nf.estimate_regions, model=model, relative_error=0.5, effort=2000)
    methods("RegionEstimate", nf.estimate_regions(model, effort=500), **saved, load={"path": "saved.nc"})
    add("enumerate_regions", lambda **given: next(nf.enumerate_regions(**given)), model=model, domain=None, shape=(3,))
    add("region_graph", nf.region_graph, model=model, domain=nf.Box(0.0, 0.1), shape=(3,))
    add("region_topology", nf.region_topology, model=model, domain=nf.Box(0.0, 0.1), bounds=None, shape=(3,))
    add("count_patterns", nf.count_patterns, model=model, points=data)
    methods("PatternCount", nf.count_patterns(model, data), **saved, load={"path": "saved.nc"})
    add(
        "local_complexity",
        nf.local_complexity,
        model=model,
        points=data,
        radius=0.3,
        directions=2,
        count="state",
        seed=0,
    )
    complexity = nf.local_complexity(model, data, 0.3)
    methods("LocalComplexity", complexity, **saved, load={"path": "saved.nc"}, plot={"ax": None})

    add("score", nf.score, model=model, inputs=data, lines=2, networks=1, seed=0, method="auto")
    scores = {"a": [1.0, 2.0, 3.0, 4.0, 5.0], "b": [2.0, 1.0, 3.0, 5.0, 4.0]}
    add("rank_correlation", nf.rank_correlation, scores=scores, outcome=[1.0, 2.0, 3.0, 5.0, 4.0], confidence=0.9,
        resamples=100, seed=0)  # fmt: skip
    ranks = nf.rank_correlation(scores, [1.0, 2.0, 3.0, 5.0, 4.0], resamples=100)
    methods("RankCorrelations", ranks, against={"baseline": "a", "coefficient": "spearman"},
            plot={"coefficient": "spearman", "ax": None})  # fmt: skip
    add("ranking.table", nf.ranking.table, scores=[nf.score(model, data, lines=2)])

    add("layer_sensitivity", nf.layer_sensitivity, **_sensitivity(model, data, labels))
    sensitivity = nf.layer_sensitivity(model, (data, labels), strengths=[0.1, 1.0], repeats=2)
    methods("Sensitivity", sensitivity, **saved, load={"path": "saved.nc"}, plot={"ax": None},
            ranking={"strength": None}, threshold={"share": 0.1})  # fmt: skip
    for name, good in {"GaussianNoise": {"scale": 0.2, "relative_to": "layer"}, "Prune": {"fraction": 0.5},
                       "Quantise": {"bits": 4, "per_channel": False}, "Rerandomise": {"sigma_w": None, "sigma_b": 0.0},
                       "Reinitialise": {"initial": model}}.items():  # fmt: skip
        add(name, getattr(nf, name), **good)
    methods("GaussianNoise", nf.GaussianNoise(0.2), at={"strength": 0.5})
    methods("Prune", nf.Prune(0.2), at={"strength": 0.5})
    methods("Quantise", nf.Quantise(4), at={"strength": 3})
    add("count_dichotomies", nf.count_dichotomies, model=model, inputs=data, layers=None, sweeps=1, other=_model(seed=1),
        angle=6.0, seed=0)  # fmt: skip
    methods("Dichotomies", nf.count_dichotomies(model, data), **saved, load={"path": "saved.nc"}, plot={"ax": None})
    add("train_single_layer", nf.train_single_layer, **_training(data, labels))
    single = nf.train_single_layer(**_training(data, labels))
    methods("SingleLayerTraining", single, **saved, load={"path": "saved.nc"}, plot={"ax": None})
    add("TrajectoryRegularizer", nf.TrajectoryRegularizer, weight=0.01, original="first", scaled=True)
    regularized = nn.Sequential(nn.Linear(3, 4), nf.TrajectoryRegularizer(), nn.ReLU(), nn.Linear(4, 2))
    regularized(tensors[0])
    normal = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    add("TrajectoryRegularizer.penalty", nf.TrajectoryRegularizer.penalty, model=regularized, inputs=tensors[0])
    add("TrajectoryRegularizer.in_place_of_batch_norm", nf.TrajectoryRegularizer.in_place_of_batch_norm, model=normal,
        make=nf.TrajectoryRegularizer)  # fmt: skip
    monitors = nf.monitors
    watched = monitors.AlongPaths([line])
    add("monitors.AlongPaths", monitors.AlongPaths, paths=[line], what=("length",))
    add("monitors.LayerLoss", monitors.LayerLoss, data=(data, labels), metric="accuracy",
        perturbation=nf.GaussianNoise(0.2), repeats=1, seed=0)  # fmt: skip
    add("monitors.LocalComplexity", monitors.LocalComplexity, points=data, radius=0.1, directions=2, seed=0)
    add("monitors.UnitShares", monitors.UnitShares, points=data)
    add("monitors.EffectiveRank", monitors.EffectiveRank, points=data)
    add("monitors.plain_names", monitors.plain_names, numbers={"a → b": 1.0})
    add("monitors.Monitor", monitors.Monitor, measures=watched, every=1, part=lambda m: m, budget=0.5)
    methods("monitors.AlongPaths", watched, measure={"model": model})
    methods("monitors.LayerLoss", monitors.LayerLoss((data, labels), repeats=1), measure={"model": model})
    methods("monitors.UnitShares", monitors.UnitShares(data), measure={"model": model})
    methods("monitors.EffectiveRank", monitors.EffectiveRank(data), measure={"model": model})
    methods("monitors.LocalComplexity", monitors.LocalComplexity(data, 0.1, 2), measure={"model": model},
            vertices={"point": tensors[0][0]})  # fmt: skip
    monitor = monitors.Monitor(watched, 1, budget=None)
    methods(
        "monitors.Monitor",
        monitor,
        __call__={"model": model, "step": 1},
        load_state_dict={"state": monitor.state_dict()},
    )
    add("monitors.measure", monitors.measure, model=model, measures=watched, part=None)
    add("monitors.follow", monitors.follow, models=[(0, model)], measures=watched)
    add("monitors.lightning_callback", monitors.lightning_callback, monitor=monitor)
    add("monitors.transformers_callback", monitors.transformers_callback, monitor=monitor)
    history = monitors.follow([(0, model), (1, model)], watched)
    methods(
        "monitors.History", history, **saved, load={"path": "saved.nc"}, add={"step": 10**6, "values": {"length": 1.0}}
    )
    add("report", nf.report, model=model, data=data, output="report.html", initial=_model(seed=1), labels=labels, pairs=1,
        seed=0, progress=False)  # fmt: skip
    plan = {"measures": ["regions"], "repeats": 1, "grid": {"inputs": 2, "width": [2], "depth": [1]}}
    nf.Sweep(plan, "done.sweep").run(workers=1, progress=False)
    sweep = nf.Sweep.open("done.sweep")
    add("Sweep", nf.Sweep, plan=plan, store="new.sweep")
    for key in plan:
        add(f"Sweep of {key}", lambda _key=key, **value: nf.Sweep({**plan, **value}, "other.sweep"), **{key: plan[key]})
    for key in plan["grid"]:
        add(f"Sweep of a grid of {key}", lambda **value: nf.Sweep({**plan, "grid": {**plan["grid"], **value}}, "grid.sweep"),
            **{key: plan["grid"][key]})  # fmt: skip
    methods("Sweep", sweep, open={"store": "done.sweep"}, export={"path": "done.csv", "layers": False},
            to_dataframe={"layers": False}, to_xarray={},
            run={"workers": 1, "backend": None, "scheduler": None, "retry": False, "progress": False})  # fmt: skip
    _theory(found, add, methods, model, trace, line, data)
    return found


def _defaults(call: Callable[..., Any], **good: Any) -> Values:
    known = inspect.signature(call).parameters
    return {name: good.get(name, p.default) for name, p in known.items() if name in good or p.default is not p.empty}


def _sensitivity(model: nn.Module, data: Any, labels: Any) -> Values:
    return _defaults(nf.layer_sensitivity, model=model, data=(data, labels), repeats=2, metric="accuracy")


def _training(data: Any, labels: Any) -> Values:
    return _defaults(
        nf.train_single_layer, make=lambda seed: _model(seed=seed), train=(torch.from_numpy(data).float(), labels), test=None, seeds=(0,),
        epochs=1, batch=12, layers=["linear1"], whole=False,
    )  # fmt: skip


def _theory(
    found: dict[str, Target], add: Any, methods: Any, model: nn.Module, trace: nf.Trace, line: nf.Line, data: Any
) -> None:
    theory, bounds = nf.theory, nf.bounds
    shape: Values = {"inputs": 2, "widths": [6, 6]}
    conv = {"size": 5, "channels": 1, "layers": [bounds.Conv(2, 2)]}
    for name in bounds.__all__:
        call = getattr(bounds, name)
        if inspect.isfunction(call) and "widths" in inspect.signature(call).parameters:
            add(f"bounds.{name}", call, **_defaults(call, **shape, rank=2, ranks=None))
    add("bounds.depth_chain", bounds.depth_chain, neurons=8, inputs=2, activation="relu")
    add("bounds.of", bounds.of, model=model, point=None, shape=(3,), dimension=2, only=None)
    add("bounds.xiong2020", bounds.xiong2020, size=5, channels=1, kernel=2, stride=1, filters=2, padding=0)
    add("bounds.xiong2020_lower", bounds.xiong2020_lower, **conv)
    add("bounds.xiong2020_upper", bounds.xiong2020_upper, **conv)
    add("bounds.zaslavsky", bounds.zaslavsky, hyperplanes=5, dimension=2, kind="affine")
    add("bounds.Conv", bounds.Conv, filters=2, kernel=2, stride=1, padding=0)
    methods("bounds.BoundsTable", bounds.table(**shape), first={"layers": 1}, plot={"ax": None})
    methods("bounds.DepthChain", bounds.depth_chain(8, 2), plot={"ax": None})
    methods("bounds.NetworkBounds", bounds.of(model), plot={"ax": None})
    law: Values = {"activation": "tanh", "sigma_w": 1.5, "sigma_b": 0.3}
    add("diagnose", nf.diagnose, model=model, point=data[0], shape=None)
    add("theory.mean_field", theory.mean_field, **law, q0=1.0)
    field = theory.mean_field("tanh", 1.5, 0.3)
    methods("theory.MeanField", field, correlation_map={"c": [0.5]})
    add("theory.critical_sigma_w", theory.critical_sigma_w, activation="tanh", sigma_b=0.3, q0=1.0)
    add("theory.crossing_rate", theory.crossing_rate, **law, depth=2, curve="circle", q0=1.0, fan_in=None)
    add("theory.curvature_growth", theory.curvature_growth, **law, depth=2, q=None)
    add("theory.length_growth", theory.length_growth, **law, width=5, depth=2, inputs=3, outputs=2, curve="circle", q0=None,
        scaling="fan_in")  # fmt: skip
    add("theory.phase_diagram", theory.phase_diagram, activation="tanh", sigma_w=[1.0, 2.0], sigma_b=[0.1, 0.2], q0=1.0)
    add("theory.angular_length", theory.angular_length, points=data, bias=0.5)
    add("theory.as_activation", theory.as_activation, activation="tanh")
    add("theory.Custom", theory.Custom, function=np.tanh, name="custom")
    add("theory.PiecewiseLinear", theory.PiecewiseLinear, name="relu", knots=(0.0,), slopes=(0.0, 1.0), anchor=0.0)
    add("theory.hard_tanh", theory.hard_tanh, low=-1.0, high=1.0)
    add("theory.leaky_relu", theory.leaky_relu, slope=0.1)
    comparing = {
        "traces": trace,
        "paths": line,
        "law": None,
        "activation": "relu",
        "sigma_w": 1.4,
        "sigma_b": 0.5,
        "draws": "paths",
    }
    add("theory.compare", theory.compare, **comparing)
    methods("theory.Comparison", theory.compare(**comparing), plot={"measure": "growth", "ax": None})
    given = {"activation": "relu", "sigma_w": 1.4, "sigma_b": 0.5, "layers": 2}
    add("theory.Law.given", theory.Law.given, **given)
    add("theory.Law.of", theory.Law.of, diagnosis=nf.diagnose(model))
    add("theory.expect", theory.expect, law=theory.Law.given(**given), path=line, widths=[4, 4], outputs=2)
    add("theory.expected_sign_transitions", theory.expected_sign_transitions, trace=trace)
    add("theory.hanin2022", theory.hanin2022, widths=[4, 4], inputs=3, outputs=2, readout_variance=2.0)
    add("theory.kac_rice", theory.kac_rice, square=np.ones(3), speed=np.ones(3), drift=np.zeros(3), level=0.0)
    add("theory.price_tanner2019", theory.price_tanner2019, sigma_w=1.4, kept=1.0)
    add("theory.raghu2017_growth", theory.raghu2017_growth, activation="relu", width=10, sigma_w=2.0, sigma_b=0.1)
    for name, result in {"CrossingRate": theory.crossing_rate(**law, depth=2), "LengthGrowth": theory.length_growth(**law, depth=2),
                         "CurvatureGrowth": theory.curvature_growth(**law, depth=2)}.items():  # fmt: skip
        methods(f"theory.{name}", result, save={"path": "saved.nc"}, load={"path": "saved.nc"}, plot={"ax": None})
    methods("theory.Diagnosis", nf.diagnose(model), plot={"ax": None})


def cases(known: dict[str, Target]) -> Iterator[tuple[str, str, str]]:
    """Every argument of every target with every bad value."""
    for name, target in known.items():
        for argument in target.good:
            for bad in BAD:
                yield name, argument, bad


def state(model: nn.Module) -> list[Any]:
    """What a call must leave as it was."""
    kept = [(n, p.requires_grad, p.grad is None, p.dtype, float(p.detach().sum())) for n, p in model.named_parameters()]
    return [kept, [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]]


def attempt(target: Target, argument: str, bad: str) -> tuple[str, str]:
    """Call with one bad argument; how it ended (result, refused, unnamed, raw, touched), and the error."""
    good = dict(target.good)
    model, before = good.get("model"), None
    if isinstance(model, nn.Module):
        before = state(model)
    try:
        target.call(**{**good, argument: BAD[bad]()})
        how, told = "result", ""
    except nf.NetfoldError as error:
        told = f"{type(error).__name__}: {error}"
        how = "refused" if argument.strip("_").split("_")[0] in told else "unnamed"
        if "tensor(" in told or len(told) > 2000:
            how, told = "raw", f"a whole tensor, or {len(told):,} characters in an error: {told[:200]}"
    except FileNotFoundError as error:
        how, told = "refused", f"FileNotFoundError: {error}"
    except BaseException as error:
        how, told = "raw", f"{type(error).__name__}: {error} {_place(error)}"
    finally:
        plt.close("all")
    if before is not None and isinstance(model, nn.Module) and state(model) != before:
        how, told = "touched", f"the model has changed; {told}"
    return how, told[:400]


def _place(error: BaseException) -> str:
    """Where it came from: the last line in netfold."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "netfold" in file and "stress" not in file:
            place = f"{Path(file).parent.name}/{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"[{place}]"


def main() -> None:
    torch.set_num_threads(1)
    plt.switch_backend("Agg")

    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    os.chdir(tempfile.mkdtemp())
    Path("a file.txt").write_text("nobody's")
    known = targets()
    for target in known.values():
        target.call(**target.good)  # what works compiles now, and has no part in how long others take
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    out = os.dup(1)
    os.dup2(2, 1)
    say_to(out, list(cases(known)))
    while True:
        name, argument, bad = hear()
        say_to(out, attempt(known[name], argument, bad))


def say_to(handle: int, value: Any) -> None:
    os.dup2(handle, 1)
    say(value)
    os.dup2(2, 1)


if __name__ == "__main__":
    sys.exit(main())
