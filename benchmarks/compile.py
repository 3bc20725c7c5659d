"""Show what a first call compiles: each verb in a fresh process with an empty cache.

    python benchmarks/compile.py [VERB ...] [--top 25]
    python benchmarks/compile.py --record

For each verb: wall and CPU seconds of the whole process; of the compiler: functions, signatures, and CPU seconds by
step (typing, lowering, wrappers for Python, LLVM's optimiser, machine code, saving, what else there is), a function's
own without those it calls, a star where Python calls it. The passes of numba itself (an array's copy, a sum) are
counted apart. Then the same again with the cache that was filled.

``--record`` writes what the verbs of ``netfold warmup`` compile into ``exact/numerics/ahead.json``, so that processes
can share the work: to be run when passes, or the types of their arguments, have changed.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

VERBS = {
    "trace": "nf.trace_path(network(100, [100] * 6), nf.Line(torch.zeros(100), torch.ones(100)))",
    "hardtanh": "nf.trace_path(network(100, [100] * 6, 'hardtanh'), nf.Line(torch.zeros(100), torch.ones(100)))",
    "partition": "nf.partition_plane(network(2, [16] * 3), nf.Plane([0, 0], [1, 0], [0, 1]), bounds=(-1, 1, -1, 1))",
    "count3": "nf.count_regions(network(3, [12] * 3))",
    "count8": "nf.count_regions(network(8, [10] * 2))",
    "box3": "nf.count_regions(network(3, [12] * 3), nf.Box([-1] * 3, [1] * 3))",
    "arc": "nf.trace_path(network(100, [100] * 6), nf.Circle(torch.randn(100), torch.randn(100)))",
    "score": "nf.score(network(16, [16] * 3), torch.randn(8, 16))",
    "report": "import netfold.cli; netfold.cli.main(['report', '--output', tempfile.mkdtemp() + '/report.html'])",
    "import": "None",
}

STEPS = "typing", "lowering", "wrappers", "optimiser", "machine", "saving", "rest"

PASSES = {"type_inference": "typing", "lowering": "lowering"}


class Stopwatch:
    """CPU seconds of nested work: what each piece costs without what it holds, by function and step."""

    def __init__(self) -> None:
        self.stack: list[tuple[str, str]] = []
        self.last = 0.0
        self.spent: dict[tuple[str, str], float] = defaultdict(float)
        self.signatures: dict[str, set[str]] = defaultdict(set)
        self.entries: dict[str, int] = defaultdict(int)

    def enter(self, name: str, step: str) -> None:
        self._book()
        self.stack.append((name, step))

    def leave(self) -> None:
        self._book()
        self.stack.pop()

    def _book(self) -> None:
        now = time.thread_time()
        if self.stack:
            self.spent[self.stack[-1]] += now - self.last
        self.last = now

    def within(self, step: str, method: Callable[..., Any]) -> Callable[..., Any]:
        """The method, timed as a step of the function that is being compiled."""

        @functools.wraps(method)
        def timed(*arguments: Any, **options: Any) -> Any:
            name, around = self.stack[-1] if self.stack else ("(none)", step)
            self.enter(name, around if around == "wrappers" else step)
            try:
                return method(*arguments, **options)
            finally:
                self.leave()

        return timed

    def watch(self) -> None:
        """Listen to numba."""
        from numba.core import caching, codegen, event, lowering

        watch = self

        class Compilation(event.Listener):
            def on_start(self, event: event.Event) -> None:
                function = event.data["dispatcher"].py_func
                name = f"{function.__module__}.{function.__qualname__}"
                watch.signatures[name].add(str(event.data["args"]))
                if not watch.stack:
                    watch.entries[name] += 1
                watch.enter(name, "rest")

            def on_end(self, event: event.Event) -> None:
                watch.leave()

        class Pass(event.Listener):
            def on_start(self, event: event.Event) -> None:
                name = watch.stack[-1][0] if watch.stack else "(none)"
                step = [step for part, step in PASSES.items() if part in event.data["name"].split(" [")[0]]
                watch.enter(name, step[0] if step else "rest")

            def on_end(self, event: event.Event) -> None:
                watch.leave()

        event.register("numba:compile", Compilation())
        event.register("numba:run_pass", Pass())
        for owner, method, step in (
            (codegen.CPUCodeLibrary, "finalize", "optimiser"),
            (codegen.CPUCodeLibrary, "_optimize_functions", "optimiser"),
            (codegen.JitEngine, "finalize_object", "machine"),
            (codegen.JitEngine, "get_function_address", "machine"),
            (lowering.BaseLower, "create_cpython_wrapper", "wrappers"),
            (lowering.BaseLower, "create_cfunc_wrapper", "wrappers"),
            (caching.Cache, "save_overload", "saving"),
        ):
            setattr(owner, method, self.within(step, getattr(owner, method)))

    def report(self, top: int) -> None:
        """Print what was compiled."""
        mine = [name for name in self.signatures if name.startswith("netfold.")]
        for title, names in (("netfold", mine), ("numba", [n for n in self.signatures if n not in mine])):
            total = {step: sum(self.spent[name, step] for name in names) for step in STEPS}
            steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in total.items())
            many = sum(len(self.signatures[name]) for name in names)
            print(f"  {title}: {len(names)} functions, {many} signatures, {sum(total.values()):.1f} CPU s ({steps})")
        costs = {name: [self.spent[name, step] for step in STEPS] for name in self.signatures}
        for name in sorted(costs, key=lambda name: -sum(costs[name]))[:top]:
            steps = " ".join(f"{seconds:9.2f}" for seconds in costs[name])
            mark = "*" if self.entries[name] else " "
            print(f"  {sum(costs[name]):6.2f} {steps} {mark} {len(self.signatures[name])} x {name}")


class Recorder:
    """What a verb compiles: each pass after those that it calls, as `ahead.Entry` has it."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, bool, str], list[Any]] = {}
        self.calls: list[list[tuple[str, bool, str]]] = [[]]
        self.inside = 0.0

    def watch(self) -> None:
        """Listen to passes; none is compiled by other processes."""
        from netfold.exact.numerics import ahead, dispatch

        compiled, recorder = dispatch._Dispatcher.compile, self
        ahead.share = lambda *_: None

        def compile(self: Any, arguments: Any) -> Any:
            name = f"{self.py_func.__module__}:{self.py_func.__qualname__}"
            try:
                types = [ahead.written(kind) for kind in arguments]
            except TypeError:
                types = None
            key = name, not isinstance(self, dispatch.Pass), json.dumps(types) if types else str(arguments)
            recorder.calls[-1].append(key)
            begun, before = time.thread_time(), recorder.inside
            recorder.inside = 0.0
            recorder.calls.append([])
            try:
                return compiled(self, arguments)
            finally:
                spent, called = time.thread_time() - begun, sorted(set(recorder.calls.pop()))
                recorder.entries.setdefault(key, [name, key[1], types, called, round(spent - recorder.inside, 2)])
                recorder.inside = before + spent

        dispatch._Dispatcher.compile = compile

    def told(self) -> str:
        """All as JSON."""
        return json.dumps([[*self.entries.items()], [key for key in self.calls[0] if not key[1]]])


def record() -> None:
    """Write ``ahead.json``: entries of all verbs, those that are called first, and what Python calls, verb by verb."""
    from netfold.commands.warmup import VERBS as ALL
    from netfold.exact.numerics import ahead

    place: dict[str, int] = {}
    passes: list[str] = []
    verbs: list[list[int]] = []
    for verb in ALL:
        with tempfile.TemporaryDirectory() as folder:
            here = [sys.executable, __file__, verb, "--here", "--record"]
            told = subprocess.run(
                here, env={**os.environ, "NUMBA_CACHE_DIR": folder}, stdout=subprocess.PIPE, check=True
            )
        entries, roots = json.loads(told.stdout)
        for key, (name, linked, types, called, seconds) in entries:
            known = json.dumps(key)
            if known not in place:
                place[known] = len(passes)
                called = sorted({place[json.dumps(one)] for one in called})
                passes.append(json.dumps([name, linked, types, called, seconds]))
        verbs.append(sorted({place[json.dumps(root)] for root in roots}))
        print(f"{verb}: {len(entries)} passes", flush=True)
    lines = ",\n".join(passes), ",\n".join(json.dumps(roots) for roots in verbs)
    ahead.RECORD.write_text(f'{{"passes": [\n{lines[0]}\n],\n"verbs": [\n{lines[1]}\n]}}\n', encoding="utf-8")


def record_here(verb: str) -> None:
    """One verb in this process, its passes told to the one that started it."""
    import netfold as nf
    from netfold.commands.warmup import VERBS as ALL

    recorder = Recorder()
    recorder.watch()
    ALL[verb](nf)
    print(recorder.told())


def run(verb: str, top: int) -> None:
    """One verb in this process."""
    watch = Stopwatch()
    watch.watch()
    import torch

    import netfold as nf

    def network(inputs: int, widths: list[int], activation: str = "relu") -> torch.nn.Module:
        torch.manual_seed(0)
        kind = {"relu": torch.nn.ReLU, "hardtanh": torch.nn.Hardtanh}[activation]
        sizes = [inputs, *widths]
        layers = [m for a, b in itertools.pairwise(sizes) for m in (torch.nn.Linear(a, b), kind())]
        return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 3)).eval()

    begun = time.perf_counter(), time.process_time()
    exec(VERBS[verb], {"nf": nf, "torch": torch, "network": network, "tempfile": tempfile})
    print(f"  the call: {time.perf_counter() - begun[0]:.1f} s, {time.process_time() - begun[1]:.1f} CPU s")
    watch.report(top)


def main() -> None:
    """Each verb, cold and warm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verbs", nargs="*", metavar="VERB", help=f"of {', '.join(VERBS)}; all of them if none is named")
    parser.add_argument("--top", type=int, default=25, help="how many functions to list")
    parser.add_argument("--record", action="store_true", help="write what netfold compiles ahead")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        return record_here(options.verbs[0]) if options.here else record()
    if options.here:
        return run(options.verbs[0], options.top)
    for verb in options.verbs or VERBS:
        with tempfile.TemporaryDirectory() as folder:
            for state, top in (("cold", options.top), ("warm", 0)):
                begun, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
                here = [sys.executable, __file__, verb, "--here", "--top", str(top)]
                done = subprocess.run(
                    here, env={**os.environ, "NUMBA_CACHE_DIR": folder}, text=True, capture_output=True
                )
                now = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = now.ru_utime + now.ru_stime - spent.ru_utime - spent.ru_stime
                print(f"{verb}, {state}: {time.perf_counter() - begun:.1f} s, {cpu:.1f} CPU s", flush=True)
                print(done.stdout or done.stderr, end="")
    return None


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
