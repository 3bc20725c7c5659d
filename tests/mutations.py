"""Damaged and hostile files of every format, opened in a process with little memory and a clock.

Run as ``python -m tests.mutations FOLDER TRIES [SEED]``; prints what happened, as JSON: for every format and kind of file how
often it gave a result and how often one of netfold's errors, and a list of what must not be.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sqlite3
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.export import Dim

import netfold as nf
from netfold.capture.loading import load_data, load_model
from netfold.exact.cells.counting.checkpoint import Checkpoint
from netfold.sweep.plan import Plan
from tests.capture.hostile import JSON, WEIGHTS, archive, edited, members_of, replaced

ROOM = 2**30
"""Bytes of address space that opening a file may take beyond what the process has."""

SECONDS = 20
"""Of patience for one file; the signal ends the process even where it waits in compiled code."""

NET = nf.random_network(inputs=2, width=4, depth=2, outputs=2, activation="relu", seed=0)


def factory() -> nn.Module:
    return nn.Linear(3, 2)


def _model(path: Path) -> Any:
    program = nf.capture(load_model(path))
    return program(torch.ones(2, 2, dtype=torch.float64)).tolist()


def _data(path: Path) -> Any:
    found = load_data(path)
    return found.inputs.tolist(), None if found.labels is None else found.labels.tolist()


def _weights(path: Path) -> Any:
    return load_model(f"{__name__}:factory", path).state_dict()["weight"].tolist()


def _trace(path: Path) -> Any:
    return nf.Trace.load(path).breakpoints.tolist()


def _sweep(path: Path) -> Any:
    sweep = nf.Sweep.open(path)
    return str(sweep.status()), [row.values for row in sweep.rows()], len(sweep.runs())


def _count(path: Path) -> Any:
    fingerprint = json.loads((path.parent / "count.json").read_bytes())["fingerprint"]
    work = Checkpoint(path, fingerprint, np.full(8, 2)).load()
    return repr(work and work.snapshot()[0])


READERS: dict[str, tuple[Callable[[Path], Any], bool]] = {
    "model.pt2": (_model, True),
    "data.npz": (_data, True),
    "data.npy": (_data, False),
    "data.safetensors": (_data, False),
    "weights.safetensors": (_weights, False),
    "trace.nc": (_trace, True),
    "results.sweep": (_sweep, False),
    "plan.toml": (lambda path: Plan.read(path).size, False),
    "count.json": (_count, True),
}
"""How each file is read, and whether damage to it cannot pass unseen."""

PLAN = """measures = ["regions"]
seed = 3
repeats = 2
[grid]
inputs = 2
width = [3, 4]
depth = 1
"""


def make(folder: Path) -> None:
    """A sound file of every format."""
    x = torch.zeros(3, 2, dtype=torch.float64)
    exported = torch.export.export(NET.double(), (x,), dynamic_shapes=({0: Dim.DYNAMIC},))
    torch.export.save(exported, str(folder / "model.pt2"))
    rows = np.arange(12, dtype=np.float64).reshape(4, 3)
    np.savez_compressed(folder / "data.npz", x=rows, y=np.arange(4))
    np.save(folder / "data.npy", rows)
    save_file({"x": torch.from_numpy(rows)}, folder / "data.safetensors")
    save_file(factory().state_dict(), folder / "weights.safetensors")
    nf.trace_path(NET, nf.Line([-1.0, -1.0], [1.0, 1.0])).save(folder / "trace.nc")
    (folder / "plan.toml").write_text(PLAN)
    nf.Sweep(folder / "plan.toml", folder / "results.sweep").run(workers=1, progress=False)
    with sqlite3.connect(folder / "results.sweep") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    nf.count_regions(NET, checkpoint=folder / "count.json", threads=1, progress=False)


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The content with bytes changed, removed, doubled or put in."""
    at = dice.randrange(len(content))
    until = min(len(content), at + dice.choice([1, 1, 2, 8, 64, 1000]))
    new = dice.choice([b"", dice.randbytes(until - at), b"\xff" * (until - at), content[at:until] * 2, b"9" * 40])
    found = content[:at] + new + content[until:]
    return found[: dice.randrange(len(found))] if dice.random() < 0.1 else found


def mutated_text(content: bytes, dice: random.Random) -> bytes:
    """JSON with one of its entries changed."""
    tree = json.loads(content)
    inner, key = tree, None
    while isinstance(inner, dict | list) and inner and (key is None or dice.random() < 0.9):
        holder, key = inner, dice.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        inner = holder[key]
    odd = [None, True, -1, 2**62, 10**30, 1e300, "", "x y", "__class__", "'\"", [], {}, [[]], {"as_int": 10**12}]
    if key is not None:
        holder[key] = dice.choice(odd)
    return json.dumps(tree).encode()


def claims(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Small files that tell of much."""
    members = members_of(str(folder / "model.pt2"))
    weight, payload = next(iter(json.loads(dict(members)[WEIGHTS])["config"].items()))
    meta = ("config", weight, "tensor_meta")
    for size, stride in (([2**40], [0]), ([2**40], [1]), ([2**31, 2**31], [0, 0]), ([1] * 10**5, [1] * 10**5)):
        told = [[{"as_int": n} for n in numbers] for numbers in (size, stride)]
        changed = replaced(members, WEIGHTS, edited(*meta, "sizes", value=told[0]))
        changed = replaced(changed, WEIGHTS, edited(*meta, "strides", value=told[1]))
        yield "model.pt2", f"a weight of {size[:2]}", archive(changed)
        yield (
            "model.pt2",
            f"an empty weight of {size[:2]}",
            archive(replaced(changed, f"data/weights/{payload['path_name']}", b"")),
        )
    yield "model.pt2", "a deep text", archive(replaced(members, JSON, b"[" * 10**6))
    yield "model.pt2", "a long number", archive(replaced(members, JSON, b"9" * 10**6))
    for shape in ("(1000000000000,)", "(4, -3)", "(0, 1000000000000)", "(4611686018427387904, 8)", "(4,)" * 50):
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(96)
        yield "data.npy", shape, content
        yield "data.npz", shape, archive([("x.npy", content)], "")
    told = json.dumps({"x": {"dtype": "F64", "shape": [10**12, 1], "data_offsets": [0, 8 * 10**12]}}).encode()
    yield "data.safetensors", "a large tensor", struct.pack("<Q", len(told)) + told + bytes(64)
    yield "data.safetensors", "a large header", struct.pack("<Q", 2**60) + told
    for tree in ("draw = { cells = 10000000000000000000000, width = 3, inputs = 2, depth = 1 }", "x = " + "[" * 10**5):
        yield "plan.toml", tree[:20], f'measures = ["regions"]\n{tree}'.encode()
    yield "count.json", "a deep text", b'{"format": "netfold count 1", "sums": ' + b"[" * 10**6


def strange(folder: Path) -> Iterator[tuple[str, str]]:
    """Names of things that are no files."""
    os.mkfifo(folder / "pipe")
    with open(folder / "vast", "wb") as file:
        file.truncate(2**42)
    for name in READERS:
        for kind, target in (("zero", "/dev/zero"), ("a pipe", folder / "pipe"), ("a sparse file", folder / "vast")):
            path = folder / f"{kind.replace(' ', '_')}.{name}"
            path.symlink_to(target)
            yield name, str(path)


class Trial:
    """Opens files, and keeps what happened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.good = {name: read(folder / name) for name, (read, _) in READERS.items()}
        self.files = {name: (folder / name).read_bytes() for name in READERS}
        self.happened: Counter[str] = Counter()
        self.wrong: list[str] = []

    def open(self, name: str, kind: str, content: bytes) -> None:
        """Open a file of this content."""
        path = self.folder / f"tried.{name}"
        path.write_bytes(content)
        self.read(name, kind, path)
        path.unlink()

    def read(self, name: str, kind: str, path: Path) -> None:
        """Open a file."""
        read, seen = READERS[name]
        before = set(os.listdir(self.folder))
        print(name, kind, file=sys.stderr, flush=True)  # the last line says where a process that was ended stood
        signal.alarm(SECONDS)
        try:
            found = read(path)
            self.happened[f"{name}: result"] += 1
            if seen and found != self.good[name]:
                self.wrong.append(f"{name}, {kind}: another result")
        except nf.NetfoldError:
            self.happened[f"{name}: error"] += 1
        except BaseException as error:
            self.wrong.append(f"{name}, {kind}: {type(error).__name__}: {error}"[:500])
        finally:
            signal.alarm(0)
        sides = {f"{path.name}-wal", f"{path.name}-shm"}
        if more := set(os.listdir(self.folder)) - before - sides:
            self.wrong.append(f"{name}, {kind}: left {more}")


def main(folder: Path, tries: int, seed: str = "") -> dict[str, Any]:
    make(folder)
    trial = Trial(folder)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    for name, path in strange(folder):
        trial.read(name, "no file", Path(path))
    for name, kind, content in claims(folder):
        trial.open(name, kind, content)
    members = members_of(str(folder / "model.pt2"))
    for i in range(tries):
        for name, content in trial.files.items():
            trial.open(name, f"mutation {i}", mutated(content, random.Random(f"{seed} {name} {i}")))
        if i % 2:
            continue
        dice = random.Random(f"{seed} text {i}")
        text = dice.choice([JSON, JSON, WEIGHTS])
        trial.open("model.pt2", f"text {i}", archive(replaced(members, text, lambda c, d=dice: mutated_text(c, d))))
    return {"happened": trial.happened, "wrong": trial.wrong}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])))
