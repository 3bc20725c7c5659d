"""While long work runs: its bar, and one thread where sums must have one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: sums then have one order, and small products are not slowed by sharing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress_bar(total: float | None, desc: str, unit: str, progress: bool | None, **look: Any) -> tqdm:
    """A bar on stderr while something long runs.

    Args:
        total: how much there is to do, in ``unit``; None where nobody knows.
        desc: what is done.
        unit: what is counted.
        progress: whether to show it; None: only in a terminal.
        look: more of tqdm's options.
    """
    hidden = None if progress is None else not progress
    return tqdm(total=total, desc=desc, unit=unit, disable=hidden, **{"leave": False, **look})
