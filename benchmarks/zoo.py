"""Real architectures with random weights: what capture takes, what is exact, in which time and memory.

    python benchmarks/zoo.py                          # all that the installed packages offer; hours
    python benchmarks/zoo.py --only resnet --most 5   # names that hold a word, and so many of them
    python benchmarks/zoo.py --list                   # only the names
    python benchmarks/zoo.py --csv zoo.csv            # the table as a file

Models come from torchvision, timm and transformers, each where it is installed; those that are not are named. Weights
are random, nothing is downloaded. Every model is captured; where it is exact up to its last operations, a short stretch
of a line is followed, and at every breakpoint forward passes on both sides must show that the unit that the trace names
is there: the sign pattern differs across it and is the same between breakpoints. The exit code is 1 where that fails.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

import netfold as nf
from netfold.capture import Program
from netfold.capture.splitting import exact_part, split_of
from netfold.measures.states import states_at
from netfold.paths import stretch

IMAGE = 224
"""Pixels along each side, where a model does not say."""

SHARES = 0.5 ** np.arange(4, 20)
"""Parts of a line that are tried until one holds few breakpoints."""

ENOUGH = 20
"""Breakpoints that are checked."""


@dataclass
class Row:
    """What came of one model."""

    name: str
    parameters: int = 0
    captured: bool = False
    capture_seconds: float = 0.0
    exact: str = ""
    layers: int = 0
    breakpoints: int = 0
    right: int = 0
    trace_seconds: float = 0.0
    memory_mb: int = 0
    why: str = field(default="")


Maker = Callable[[], tuple[nn.Module, tuple[int, ...]]]


def models() -> Iterator[tuple[str, Maker]]:
    """Names, and what makes a model and says the shape of its point."""
    for package, found in (("torchvision", _torchvision), ("timm", _timm), ("transformers", _transformers)):
        try:
            importlib.import_module(package)
        except ImportError:
            print(f"{package} is not installed: its models are left out", file=sys.stderr)
            continue
        for name, make in found():
            yield f"{package}/{name}", make


def _torchvision() -> Iterator[tuple[str, Maker]]:
    from torchvision import models as zoo  # pyright: ignore[reportMissingImports]

    for name in zoo.list_models(module=zoo):
        yield name, lambda name=name: (zoo.get_model(name, weights=None), (3, IMAGE, IMAGE))


def _timm() -> Iterator[tuple[str, Maker]]:
    import timm  # pyright: ignore[reportMissingImports]

    def make(name: str) -> tuple[nn.Module, tuple[int, ...]]:
        model = timm.create_model(name, pretrained=False)
        return model, tuple(model.default_cfg.get("input_size", (3, IMAGE, IMAGE)))

    families: dict[str, str] = {}
    for name in timm.list_models():
        families.setdefault(name.split("_")[0], name)
    for name in families.values():
        yield name, lambda name=name: make(name)


class _Logits(nn.Module):
    """A model of Hugging Face from its embeddings, or pixels, to a tensor."""

    def __init__(self, model: nn.Module, entry: str) -> None:
        super().__init__()
        self.model, self.entry = model, entry

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(**{self.entry: x})[0]


SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50,
    "n_embd": 32, "n_layer": 2, "n_head": 2, "d_model": 32, "num_layers": 2, "d_ff": 64, "num_key_value_heads": 2,
    "embedding_size": 32, "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2,
    "image_size": 32, "patch_size": 8, "max_position_embeddings": 64,
}  # fmt: skip

TEXT = ("bert", "gpt2", "roberta", "distilbert", "albert", "electra", "llama", "mistral", "qwen2", "gpt_neox", "opt")
VISION = ("vit", "deit", "beit", "dinov2", "resnet", "convnext", "mobilenet_v2", "regnet", "poolformer")


def _transformers() -> Iterator[tuple[str, Maker]]:
    from transformers import AutoModel  # pyright: ignore[reportMissingImports]
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # pyright: ignore[reportMissingImports]

    def make(kind: str, entry: str, shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
        kind_of = CONFIG_MAPPING[kind]
        known = kind_of().to_dict()
        config = kind_of(**{name: value for name, value in SMALL.items() if name in known})
        config._attn_implementation = "eager"
        return _Logits(AutoModel.from_config(config), entry), shape

    for kind in TEXT:
        yield kind, lambda kind=kind: make(kind, "inputs_embeds", (6, 32))
    for kind in VISION:
        yield kind, lambda kind=kind: make(kind, "pixel_values", (3, 32, 32))


def measure(name: str, make: Maker) -> Row:
    """Capture a model, and follow a short stretch of a line through it."""
    row = Row(name)
    torch.manual_seed(0)
    try:
        model, shape = make()
        model = model.eval()
        row.parameters = sum(p.numel() for p in model.parameters())
        begin = time.perf_counter()
        program = nf.capture(model, shape=shape)
        row.capture_seconds = time.perf_counter() - begin
        row.captured, row.layers = True, len(program.layers)
        _follow(row, program, shape)
    except Exception as error:  # any model's failure is a row of the table
        row.why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    row.memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return row


def _follow(row: Row, program: Program, shape: tuple[int, ...]) -> None:
    split = split_of(program)
    row.exact = "yes" if program.piecewise_linear else f"up to {split.op}" if split else "no"
    if row.exact == "no":
        row.why = next(node.describe() for node in program.nodes if node.kind.value == "other")
        return
    exact = exact_part(program)
    line = nf.Line(*np.random.default_rng(0).standard_normal((2, *shape)))
    begin = time.perf_counter()
    for share in SHARES:
        ends = program.points(line([0.5, 0.5 + share]))
        if sum(int((s[0] != s[1]).sum()) for _, s in states_at(exact, ends)) <= ENOUGH:
            break
    trace = nf.trace_path(exact, stretch(line, 0.5, 0.5 + share))
    row.trace_seconds, row.breakpoints = time.perf_counter() - begin, len(trace.breakpoints)
    row.right = _right(exact, stretch(line, 0.5, 0.5 + share), trace)


def _right(program: Program, path: nf.Polyline, trace: nf.Trace) -> int:
    """Breakpoints at which patterns on both sides differ, with the pattern constant from one to the next."""
    edges = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    gap = np.diff(edges)
    inside = np.stack([edges[:-1] + 0.02 * gap, edges[1:] - 0.02 * gap], 1).reshape(-1)
    states = [s.cpu().numpy() for _, s in states_at(program, program.points(path(inside)))]
    pattern = np.concatenate(states, 1) if states else np.zeros((len(inside), 0))
    constant = (pattern[::2] == pattern[1::2]).all(1)
    switched = (pattern[1:-1:2] != pattern[2::2]).any(1)
    return int((switched & constant[:-1] & constant[1:]).sum())


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the names")
    parser.add_argument("--most", type=int, default=10**6, help="models at most")
    parser.add_argument("--list", action="store_true", help="only list the names")
    parser.add_argument("--csv", type=Path, help="file to write the table to")
    chosen = parser.parse_args()
    rows: list[Row] = []
    for name, make in models():
        if chosen.only not in name or len(rows) >= chosen.most:
            continue
        if chosen.list:
            print(name)
            continue
        row = measure(name, make)
        rows.append(row)
        checked = f"{row.right}/{row.breakpoints} breakpoints right" if row.exact not in ("", "no") else ""
        print(
            f"{name:40s} {row.parameters:>12,} parameters  {'captured' if row.captured else 'REFUSED':8s} "
            f"{row.capture_seconds:6.1f} s  exact: {row.exact or '-':16s} {checked} {row.memory_mb:,} MB  {row.why}",
            flush=True,
        )
    if chosen.csv and rows:
        with chosen.csv.open("w", newline="") as file:
            table = csv.DictWriter(file, asdict(rows[0]))
            table.writeheader()
            table.writerows(asdict(row) for row in rows)
    if rows:
        print(f"{sum(row.captured for row in rows)} of {len(rows)} captured")
    return int(any(row.right < row.breakpoints for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
