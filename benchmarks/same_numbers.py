"""Measure a wide, fixed set of things through the public interface and compare every number with an earlier run.

    python benchmarks/same_numbers.py NEW.json [--against OLD.json] [--only GROUP ...] [--without GROUP ...] [--list]

A safety net for changes that should change no number. Counts and words have to be equal; floats have to agree to 1e-12
of their size, or to 1e-15 of the largest in their array. Every difference is listed, and any makes the exit code 1.
Values that are only in the new run (a result that holds more than before) are listed too, but are no difference. What
results print as (``repr``, HTML, ``--help``) is kept in a section of its own, ``texts``: changes there are listed and
allowed.

Only groups that were run are compared. Times, versions, dates, folders and counters of effort are left out.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from same import regions, theories, tools
from same.results import TEXT, plain

FEW = 5
"""Differences listed of one array."""

GROUPS: dict[str, Callable[[], Iterator[tuple[str, Any]]]] = {
    made.__name__: made
    for made in (
        *(regions.captured, regions.lines, regions.curves, regions.smooth, regions.many, regions.planes),
        *(regions.cells, regions.geometry, regions.estimates),
        *(theories.bounds, theories.theory, theories.diagnosis),
        *(tools.sensitivity, tools.training, tools.ranking, tools.sweeps, tools.reports),
        *(tools.commands, tools.factories, tools.errors, tools.reproduced),
    )
}


def measured(names: list[str]) -> dict[str, dict[str, Any]]:
    """Numbers and texts of some groups."""
    found: dict[str, dict[str, Any]] = {"numbers": {}, "texts": {}}
    for name in names:
        begin, values, texts = time.perf_counter(), {}, {}
        for key, value in GROUPS[name]():
            section = texts if key.startswith(TEXT) else values
            key = key.removeprefix(TEXT)
            if key in section:
                raise SystemExit(f"two values of {name} have the key {key!r}")
            section[key] = plain(value)
        found["numbers"][name], found["texts"][name] = values, texts
        kinds = Counter(kind for _, kind in leaves(values))
        size = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        print(f"{name:<12} {time.perf_counter() - begin:6.1f} s  {len(values):4} keys, {len(texts):3} texts: {size}")
    return found


def leaves(value: Any) -> Iterator[tuple[Any, str]]:
    """Every single number or word, with its kind."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value, type(value).__name__


def differences(where: str, old: Any, new: Any, size: float = 0.0) -> Iterator[tuple[str, str]]:
    """What differs, with its key; ``size`` is that of the largest number beside it."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            if key not in new:
                yield f"{where} | {key}", "is gone"
            elif key not in old:
                yield f"{where} | {key}", "is new"
            else:
                yield from differences(f"{where} | {key}", old[key], new[key])
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield where, f"had {len(old)} entries, has {len(new)}"
        inside = max((abs(x) for x in old if isinstance(x, float) and math.isfinite(x)), default=0.0)
        pairs = enumerate(zip(old, new, strict=False))
        found = [d for i, (a, b) in pairs for d in differences(f"{where}[{i}]", a, b, inside)]
        yield from found[:FEW]
        if len(found) > FEW:
            yield where, f"differs in more entries than these {FEW}"
    elif not equal(old, new, size):
        yield where, change(old, new)


def change(old: Any, new: Any) -> str:
    """What a value was and is; of long texts only where they part."""
    if isinstance(old, str) and isinstance(new, str):
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        old, new = old[max(at - 30, 0) : at + 60], new[max(at - 30, 0) : at + 60]
    told = f"was {old!r}, is {new!r}"
    if isinstance(old, float) and isinstance(new, float) and old != new:
        told += f", off by {abs(old - new) / max(abs(old), abs(new)):.1e} of it"
    return told


def equal(old: Any, new: Any, size: float) -> bool:
    """Whether two values agree."""
    if type(old) is not type(new) or not isinstance(old, float):
        return type(old) is type(new) and old == new
    if not (math.isfinite(old) and math.isfinite(new)):
        return old == new or (math.isnan(old) and math.isnan(new))
    return abs(old - new) <= max(1e-12 * max(abs(old), abs(new)), 1e-15 * size, 1e-300)


def compared(old: dict[str, Any], new: dict[str, Any]) -> int:
    """Tell what differs from an earlier run: 1 where a number does."""
    both = [name for name in new["numbers"] if name in old["numbers"]]
    found = [d for name in both for d in differences(name, old["numbers"][name], new["numbers"][name])]
    changed = [d for name in both for d in differences(name, old["texts"][name], new["texts"][name])]
    wrong = [d for d in found if d[1] != "is new"]
    added = [d for d in found if d[1] == "is new"]
    for title, some in {"NUMBERS": wrong, "only in the new run": added, "texts": changed}.items():
        if some:
            print(f"\n{title}, {len(some)}:", *(f"  {key}: {what}" for key, what in some), sep="\n")
    kinds = Counter(kind for name in both for _, kind in leaves(old["numbers"][name]))
    size = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
    texts = f"{len(changed)} of {sum(len(old['texts'][name]) for name in both):,} texts differ"
    print(f"\n{len(wrong)} differences in {sum(kinds.values()):,} in {len(both)} groups ({size}); {texts}")
    return 1 if wrong or not both else 0


def main() -> int:
    """Run the groups asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, help="the file to write")
    parser.add_argument("--against", type=Path, help="a file of an earlier run")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), metavar="GROUP")
    parser.add_argument("--without", nargs="+", choices=GROUPS, default=[], metavar="GROUP")
    parser.add_argument("--list", action="store_true", help="only name the groups")
    asked = parser.parse_args()
    if asked.list:
        print(*(f"{name:<12} {made.__doc__}" for name, made in GROUPS.items()), sep="\n")
        return 0
    new = json.loads(json.dumps(measured([name for name in asked.only if name not in asked.without])))
    if asked.output:
        asked.output.write_text(json.dumps(new, indent=0, ensure_ascii=False))
    return compared(json.loads(asked.against.read_text()), new) if asked.against else 0


if __name__ == "__main__":
    sys.exit(main())
