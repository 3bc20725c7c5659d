"""Command lines with one word that is no good: ``python -m tests.stress.commands``, told cases line by line.

A command ends with 0, or with 2 and one clear line on stderr; never with a traceback, and never without end.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import netfold as nf
from netfold import cli
from tests.stress.calls import ROOM, say_to
from tests.stress.processes import hear

BAD = [
    "", " ", "nonsense", "None", "nan", "inf", "-inf", "-1", "0", "1.5", "1e400", str(10**30), "9" * 5000, "1,2", "[]", "{}",
    "-", "é", "\udc80", "x" * 5000, "/nonexistent/x", ".", "/dev/null", "/dev/zero", "/dev/full", "pipe", "empty.npz", "empty.toml",
    "empty.pt2", "empty.sweep", "broken.npz", "broken.npy", "broken.pt2", "broken.safetensors", "broken.toml", "broken.sweep",
    "text.npy", "objects.npy", "nan.npy", "one.npy", "flat.npy", "other.npy", "words.npy", "model.pt2", "data.npz", "weights.safetensors",
    "plan.toml", "plan.sweep", "odd.png", "odd.nc", "odd.csv", "nothere/x.html", "nothere/x.png", ":", "a:b", "os:nothing",
    "nothere:make", "torch.nn:Linear", "tests.stress.commands:breaks", "tests.stress.commands:text", "relu", "10**30",
]  # fmt: skip
"""Words that are no good in most places; where one is good, the command works."""

GOOD: dict[str, list[list[str]]] = {
    "report": [["model.pt2"], ["--data", "data.npz"], ["--output", "page.html"], ["--pairs", "1"], ["--seed", "0"],
               ["--initial", "model.pt2"], ["--shape", "3"]],
    "trace": [["model.pt2"], ["--data", "data.npz"], ["--from", "0"], ["--to", "1"], ["--path", "line"], ["--save", "trace.nc"],
              ["--shape", "3"]],
    "partition": [["model.pt2"], ["--data", "data.npz"], ["--rows", "0", "1", "2"], ["--bounds", "0", "1", "0", "1"],
                  ["--plot", "odd.png"], ["--color", "class"], ["--explore", "explore.html"], ["--save", "part.nc"]],
    "count": [["tests.stress.commands:make"], ["--weights", "weights.safetensors"], ["--box", "-1", "1"], ["--threads", "1"],
              ["--checkpoint", "count.json"], ["--shape", "3"]],
    "bounds": [["2"], ["4"], ["--activation", "relu"]],
    "bounds model.pt2": [["model.pt2"], ["--dimension", "2"], ["--shape", "3"]],
    "theory": [["relu"], ["--sigma-w", "1.5"], ["--sigma-b", "0.1"], ["--depth", "2"], ["--width", "5"]],
    "diagnose": [["model.pt2"], ["--data", "data.npz"], ["--shape", "3"]],
    "sensitivity": [["model.pt2"], ["--data", "data.npz"], ["--perturbation", "noise"], ["--strength", "0.5"],
                    ["--metric", "accuracy"], ["--layers", "linear1"], ["--repeats", "1"], ["--seed", "0"], ["--save", "s.nc"],
                    ["--plot", "odd.png"]],
    "history": [["tests.stress.commands:make"], ["steps"], ["--data", "data.npz"], ["--pairs", "1"], ["--seed", "0"]],
    "score": [["model.pt2"], ["--data", "data.npz"], ["--lines", "1"], ["--seed", "0"], ["--shape", "3"]],
    "sweep": [["plan.toml"], ["--store", "plan.sweep"], ["--workers", "1"]],
    "sweep status": [["plan.sweep"], ["--store", "plan.sweep"]],
    "sweep export": [["plan.sweep"], ["odd.csv"]],
    "reproduce": [["circle"], ["--data", "mnist"], ["--output", "page.html"], ["--seed", "0"], ["--workers", "1"]],
}  # fmt: skip
"""Arguments of every verb; `reproduce` measures nothing here."""


def make() -> torch.nn.Module:
    return nf.random_network(3, 4, 2, 2, sigma_b=0.5)


def breaks() -> torch.nn.Module:
    raise KeyError("a factory that fails")


def text() -> str:
    return "no model"


def prepare() -> None:
    """The files that good and bad words name, in the present folder."""
    data = np.random.default_rng(0).normal(size=(12, 3))
    exported = torch.export.export(
        make(), (torch.zeros(2, 3),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
    )
    torch.export.save(exported, "model.pt2")
    np.savez("data.npz", x=data, y=np.arange(12) % 2)
    save_file(make().state_dict(), "weights.safetensors")
    Path("steps").mkdir()
    for step in (0, 1):
        save_file(make().state_dict(), f"steps/step-{step}.safetensors")
    Path("plan.toml").write_text('measures = ["regions"]\ngrid = { inputs = 2, width = 2, depth = 1 }\n')
    nf.Sweep("plan.toml").run(workers=1, progress=False)
    for name in ("npz", "toml", "pt2", "sweep"):
        Path(f"empty.{name}").touch()
    for name in ("npz", "npy", "pt2", "safetensors", "toml", "sweep"):
        Path(f"broken.{name}").write_bytes(b"PK\x03\x04 no such thing \xff" * 9)
    Path("text.npy").write_text("1 2 3\n")
    np.save("objects.npy", np.array([{}, None], object))
    np.save("nan.npy", np.full((4, 3), np.nan))
    np.save("one.npy", data[:1])
    np.save("flat.npy", data[0])
    np.save("other.npy", np.ones((4, 7)))
    np.save("words.npy", np.array([["a", "b"]]))
    Path("mnist").mkdir()


def cases() -> Iterator[list[str]]:
    """Every argument of every verb with every bad word, and with none."""
    for verb, arguments in GOOD.items():
        start = verb.split()[: 1 if verb.startswith("bounds") else 2]
        yield [*start, *(word for one in arguments for word in one)]
        for number, argument in enumerate(arguments):
            for bad in (*BAD, None):
                words = [*argument[:-1], *([] if bad is None else [bad])]
                others = [word for i, one in enumerate(arguments) if i != number for word in one]
                yield [*start, *(others if argument[0].startswith("-") else []),
                       *words, *([] if argument[0].startswith("-") else others)]  # fmt: skip


def attempt(words: list[str], files: str) -> tuple[str, str]:
    """Run one command line where copies of these files are; how it ended (result, refused, raw), and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(files, folder, dirs_exist_ok=True)
        os.chdir(folder)
        os.mkfifo("pipe")
        try:
            return _attempt(words)
        finally:
            os.chdir("/")


def _attempt(words: list[str]) -> tuple[str, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(words)
    except BaseException as error:
        return "raw", "".join(traceback.format_exception_only(error)).strip()[:300] + _place(error)
    said = err.getvalue()
    if code == 0:
        return "result", ""
    lines = said.strip().splitlines()
    if code == 2 and len(lines) == 1 and lines[0].startswith("netfold: ") and len(lines[0]) < 2000:
        return "refused", lines[0][:300]
    return "raw", f"exit {code}: {said[:300]}"


def _place(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "netfold" in f.filename]
    return f" [{Path(frames[-1].filename).name}:{frames[-1].lineno}]" if frames else ""


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    files = tempfile.mkdtemp()
    os.chdir(files)
    prepare()
    from netfold.reproduce import runner

    runner.run = lambda *_: iter(())
    out = os.dup(1)
    os.dup2(2, 1)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * ROOM, used + 2 * ROOM))
    say_to(out, list(cases()))
    while True:
        say_to(out, attempt(hear(), files))


if __name__ == "__main__":
    sys.exit(main())
