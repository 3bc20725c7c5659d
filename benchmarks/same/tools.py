"""Sensitivity, training, ranking, sweeps, reports, the command line."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import math
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn

import netfold as nf
from same.networks import Residual, conv, dense, ends, numbers, seeded
from same.results import FOLDER, TEXT, Found, kept, plain, told


def labelled(seed: int = 0, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with classes that a network can learn."""
    x = numbers(seed, count, 4).astype(np.float32)
    return x, (x[:, 0] * x[:, 1] > 0).astype(np.int64) + (x[:, 2] > 0.5)


def sensitivity() -> Found:
    """Layers perturbed one at a time."""
    net, data = dense(), labelled()
    perturbations = {"noise": nf.GaussianNoise(0.25), "channel": nf.GaussianNoise(0.3, "channel")}
    perturbations |= {"absolute": nf.GaussianNoise(0.1, None)}
    perturbations |= {"zero": nf.Zero(), "again": nf.Rerandomise(), "drawn": nf.Rerandomise(1.5, 0.1)}
    perturbations |= {
        "initial": nf.Reinitialise(dense(seed=9)),
        "bits": nf.Quantise(3),
        "channels": nf.Quantise(3, True),
    }
    perturbations |= {"prune": nf.Prune(0.5)}
    for name, perturbation in perturbations.items():
        found = nf.layer_sensitivity(net, data, None, perturbation, 4, 1)
        yield from told(name, found, "mean loss interval without_effect")
        yield f"{name} ranking", found.ranking()
        yield f"{name} dict", found.to_dict()
    for metric in ("accuracy", "loss", "disagreement", "squared_change"):
        found = nf.layer_sensitivity(net, data, metric, repeats=3, seed=2, strengths=[0.1, 0.5, 2.0])
        yield from told(f"metric {metric}", found, "mean loss interval", texts=False)
    yield "threshold", found.threshold(0.1)
    yield from kept("strengths", found, "mean loss interval")
    image = (numbers(7, 40, 1, 6, 6).astype(np.float32), np.arange(40) % 3)
    yield from told("conv", nf.layer_sensitivity(seeded(conv), image, repeats=3), "mean loss")
    yield from told("residual", nf.layer_sensitivity(seeded(Residual), data[0], repeats=3), "mean loss")
    for name, found in {"relu": net, "hardtanh": dense("hardtanh", outputs=1, sigma_w=3.0)}.items():
        labellings = nf.count_dichotomies(found, data[0][:8], sweeps=2, seed=1)
        yield from told(f"dichotomies {name}", labellings, "ceiling")
        yield from kept(f"dichotomies {name}", labellings)


def training() -> Found:
    """Short trainings: one layer alone, regularised, watched."""
    x, y = labelled()
    found = nf.train_single_layer(lambda s: dense(seed=s), (x, y), labelled(1), seeds=[0, 1], epochs=2, progress=False)
    yield from told("single layer", found)
    yield from kept("single layer", found)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        normed = nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 8), nn.BatchNorm1d(8))
        plainly = lambda: nf.TrajectoryRegularizer(0.1, original="input", scaled=False)  # noqa: E731
        variants = {"first": nf.TrajectoryRegularizer.in_place_of_batch_norm(normed)}
        variants |= {"input": nf.TrajectoryRegularizer.in_place_of_batch_norm(normed, plainly)}
        for name, body in variants.items():
            net = nn.Sequential(body, nn.ReLU(), nn.Linear(8, 3))
            watch = [nf.monitors.AlongPaths(nf.Line(x[0], x[1]), ("length", "growth", "transitions", "regions"))]
            watch += [nf.monitors.LocalComplexity(x[:5], 0.2, 3), nf.monitors.LayerLoss((x, y))]
            monitor, optimizer = (
                nf.monitors.Monitor(watch, every=4, budget=None),
                torch.optim.SGD(net.parameters(), lr=0.1),
            )
            steps = []
            for step, rows in enumerate(torch.arange(120).reshape(10, 12)):
                net.train()
                monitor(net, step)
                batch = torch.from_numpy(x)[rows]
                loss = nn.functional.cross_entropy(net(batch), torch.from_numpy(y)[rows])
                term = nf.TrajectoryRegularizer.penalty(net, batch)
                optimizer.zero_grad(), (loss + term).backward(), optimizer.step()
                steps.append([loss.item(), term.item()])
            yield f"{name} steps", steps
            yield f"{name} parameters", [p.detach() for p in net.parameters()]
            yield from told(f"{name} history", monitor.history, "names groups")
            yield from kept(f"{name} history", monitor.history)


def ranking() -> Found:
    """Scores, and how well they rank."""
    x = numbers(8, 20, 4)
    sizes = [(width, depth) for width in (4, 8, 16) for depth in (1, 2, 3)]
    nets = {f"{w}x{d}": lambda seed, w=w, d=d: dense(width=[w] * d, seed=seed) for w, d in sizes}
    scores = [nf.score(make, x, lines=4, networks=2) for make in nets.values()]
    scores += [nf.score(dense(name), x, lines=4) for name in ("relu", "hardtanh", "tanh")]
    for name, found in zip([*nets, "relu", "hardtanh", "tanh"], scores, strict=True):
        yield from told(name, found, "values")
        yield f"{name} dataframe", found.to_dataframe()
    table = nf.ranking.table(scores)
    yield "table", table
    found = nf.rank_correlation(table[["regions", "growth", "parameters"]], np.sin(np.arange(12.0)), resamples=200)
    yield from told("correlation", found)
    for coefficient in ("spearman", "kendall"):
        yield f"against {coefficient}", found.against("parameters", coefficient)


PLAN = """
seed = 3
repeats = 2
measures = ["regions", "patterns", "linear_pieces", "class_changes", "transitions", "sign_transitions",
            "saturation_passages", "regions_by_layer", "lengths", "growth", "angular_lengths", "turning"]
[grid]
inputs = 3
outputs = 2
width = [6, 10]
depth = [1, 2]
activation = ["relu", "hardtanh", "tanh"]
sigma_b = 0.3
path = ["line", "circle"]
"""


def sweeps() -> Found:
    """A sweep in one process, and what the command line exports of it."""
    plan = FOLDER / "plan.toml"
    plan.write_text(PLAN)
    sweep = nf.Sweep(plan)
    yield f"{TEXT}run", str(sweep.run(workers=1))
    yield "status", str(sweep.status())
    yield "cells", sweep.to_dataframe()
    yield "layers", sweep.to_dataframe(layers=True)
    yield "xarray", sweep.to_xarray().drop_attrs(deep=False)
    for more in ([], ["--layers"]):
        yield f"export {more}", command("sweep", "export", plan, FOLDER / "cells.csv", *more)["code"]
        yield f"exported {more}", pd.read_csv(FOLDER / "cells.csv")
    yield "status command", command("sweep", "status", plan)["code"]


def command(*arguments: Any) -> dict[str, Any]:
    """Exit code, output and errors of the command line, run in this process."""
    (entry,) = entry_points(group="console_scripts", name="netfold")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = entry.load()([str(a) for a in arguments])
        except SystemExit as stop:
            code = stop.code
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def models() -> dict[str, Path]:
    """Files that the command line reads."""
    nets = {"dense": dense(), "tanh": dense("tanh"), "deep": dense("relu", 2, (8, 8)), "conv": seeded(conv)}
    shapes = {"dense": (4,), "tanh": (4,), "deep": (2,), "conv": (1, 6, 6)}
    for name, net in nets.items():
        exported = torch.export.export(
            net, (torch.zeros(2, *shapes[name]),), dynamic_shapes=({0: torch.export.Dim.AUTO},)
        )
        torch.export.save(exported, FOLDER / f"{name}.pt2")
    x, y = labelled()
    np.savez(FOLDER / "dense.npz", x=x, y=y)
    np.save(FOLDER / "conv.npy", numbers(9, 6, 1, 6, 6))
    names = ("dense.pt2", "tanh.pt2", "deep.pt2", "conv.pt2", "dense.npz", "conv.npy")
    return {name: FOLDER / name for name in names}


def commands() -> Found:
    """The command line: JSON, what it prints otherwise, help, errors."""
    f = models()
    ends_of, data = ("--from", 0, "--to", 3), ("--data", f["dense.npz"])
    run: list[tuple[Any, ...]] = [
        ("trace", f["dense.pt2"], *data, *ends_of, "--path", p) for p in ("line", "arc", "circle")
    ]
    run += [("trace", f["dense.pt2"], *data, *ends_of, "--certify"), ("trace", f["tanh.pt2"], *data, *ends_of)]
    run += [("trace", f["conv.pt2"], "--data", f["conv.npy"], *ends_of)]
    run += [("partition", f["dense.pt2"], *data), ("partition", f["dense.pt2"], *data, "--count", "--rows", 3, 4, 5)]
    run += [("count", f["deep.pt2"]), ("count", f["deep.pt2"], "--box", -1, 1, "--inradius", "--threads", 1)]
    run += [("bounds", 2, 10, 10), ("bounds", 2, 4, 4, "--activation", "hardtanh"), ("bounds", 2, 8, 8, "--rank", 3)]
    run += [("bounds", f["dense.pt2"], "--dimension", 1), ("bounds", f["conv.pt2"])]
    run += [("theory", "relu"), ("theory", "tanh", "--sigma-w", 2.5, "--sigma-b", 0.3, "--depth", 4)]
    run += [
        ("diagnose", f["dense.pt2"], *data),
        ("diagnose", f["tanh.pt2"]),
        ("score", f["dense.pt2"], f["tanh.pt2"], *data),
    ]
    kinds = ("noise", "absolute-noise", "quantise", "prune", "zero", "rerandomise")
    run += [("sensitivity", f["dense.pt2"], *data, "--perturbation", kind, "--repeats", 3) for kind in kinds]
    run += [("sensitivity", f["dense.pt2"], *data, "--strength", 0.1, 0.5, "--metric", "loss", "--repeats", 2)]
    for arguments in run:
        key = plain(" ".join(map(str, arguments)))
        found = command(*arguments, "--json")
        yield key, {"code": found["code"], "json": json.loads(found["out"] or "null")}
        yield f"{TEXT}{key}", command(*arguments)
    verbs = ("report", "trace", "partition", "count", "bounds", "theory", "diagnose", "sensitivity", "history", "score")
    for verb in (*verbs, "sweep", "reproduce", ""):
        yield f"{TEXT}help {verb}", command(*verb.split(), "--help")["out"]
    bad = [("trace", FOLDER / "none.pt2", *data, *ends_of), ("trace", f["dense.pt2"], *data, "--from", 0, "--to", 999)]
    bad += [("count", f["tanh.pt2"]), ("bounds", "x"), ("theory", "nothing"), ("nothing",), ("report", f["dense.pt2"])]
    for arguments in bad:
        key, found = plain(" ".join(map(str, arguments))), command(*arguments)
        yield f"bad {key}", found["code"]
        yield f"{TEXT}bad {key}", found["err"]


FACTORY = """
import torch
def make():
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    for number, p in enumerate(net.parameters()):
        p.data = torch.cos(torch.arange(p.numel()) + number).reshape(p.shape)
    return net
"""


def factories() -> Found:
    """Models that a function makes, with weights, checkpoints and a report from the command line."""
    (FOLDER / "numbers_factory.py").write_text(FACTORY)
    sys.path.insert(0, str(FOLDER))
    net, data, folder = importlib.import_module("numbers_factory").make(), models()["dense.npz"], FOLDER / "steps"
    folder.mkdir()
    for step in (0, 10, 20):
        weights = {name: (1 + step / 10) * value for name, value in net.state_dict().items()}
        save_file(weights, folder / f"step-{step}.safetensors")
    made, given = "numbers_factory:make", ("--weights", folder / "step-10.safetensors")
    runs: dict[str, tuple[Any, ...]] = {"count": ("count", made, *given, "--shape", 4)}
    runs |= {"trace": ("trace", made, *given, "--data", data, "--from", 0, "--to", 1, "--save", FOLDER / "trace.nc")}
    runs |= {"history": ("history", made, folder, "--data", data, "--pairs", 3, "--sensitivity")}
    page = ("--output", FOLDER / "page.html", "--pairs", 3)
    runs |= {"report": ("report", made, *given, "--data", data, "--initial", folder / "step-0.safetensors", *page)}
    for name, arguments in runs.items():
        found = command(*arguments, "--json")
        yield name, {"code": found["code"], "json": json.loads(found["out"] or "null")}
        yield f"{TEXT}{name}", command(*arguments)
    yield "saved", nf.Trace.load(FOLDER / "trace.nc")


def errors() -> Found:
    """Which error bad input raises; its message among the texts."""
    net, tanh, line = dense(), dense("tanh"), nf.Line(*ends("")[:2])
    calls: dict[str, Callable[[], Any]] = {
        "shape": lambda: nf.trace_path(net, nf.Line([0.0], [1.0])),
        "method": lambda: nf.trace_path(net, line, method="best"),
        "smooth": lambda: nf.trace_path(tanh, line, method="exact"),
        "certify": lambda: nf.trace_path(net, nf.Arc(*ends("")[:2]), certify=True),
        "no path": lambda: nf.trace_paths(net, []),
        "not a path": lambda: nf.trace_path(net, 3),
        "nan": lambda: nf.Line([math.nan], [1.0]),
        "box": lambda: nf.Box(1.0, 0.0),
        "plane": lambda: nf.Plane.through([0.0, 0.0], [1.0, 1.0], [2.0, 2.0]),
        "count": lambda: nf.count_regions(tanh),
        "domain": lambda: nf.count_regions(net, "everywhere"),
        "bounds": lambda: nf.bounds.raghu2017(0, [3]),
        "theory": lambda: nf.theory.mean_field("nothing", 1.0),
        "data": lambda: nf.layer_sensitivity(net, numbers(0, 5, 3)),
        "perturbation": lambda: nf.Prune(2.0),
        "plan": lambda: nf.Sweep({"measures": ["nothing"], "grid": {"inputs": 2}}, FOLDER / "none.sweep"),
        "load": lambda: nf.Trace.load(Path(__file__)),
        "network": lambda: nf.random_network(2, 3, 1, activation="nothing"),
    }
    for name, call in calls.items():
        try:
            call()
            yield name, "no error"
        except Exception as error:
            yield name, [kind.__name__ for kind in type(error).__mro__]
            yield f"{TEXT}{name}", str(error)


def reports() -> Found:
    """The numbers beside a report."""
    x, y = labelled()
    nf.report(
        dense("relu", width=(12, 10)), x, FOLDER / "r.html", initial=dense(width=(12, 10), seed=4), labels=y, pairs=5
    )
    yield "numbers", json.loads((FOLDER / "r_files" / "numbers.json").read_text())
    yield "files", sorted(path.name for path in (FOLDER / "r_files").iterdir())
    for group in ("trained", "initial"):
        yield f"traces {group}", nf.Traces.load(FOLDER / "r_files" / "measurements.nc", group)


def reproduced() -> Found:
    """The quickest of the paper's figures."""
    for name in ("depth-chain", "regions-line", "circle"):
        found = command("reproduce", name, "--quick", "--json", "--output", FOLDER / f"{name}.html")
        yield name, {"code": found["code"], "json": json.loads(found["out"] or "null")}
        for table in sorted((FOLDER / f"{name}_files").rglob("*.csv")):
            yield f"{name} {table.name}", pd.read_csv(table)
