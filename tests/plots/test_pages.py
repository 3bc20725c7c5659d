"""Figures for pages."""

from __future__ import annotations

import threading

import matplotlib as mpl
from matplotlib.figure import Figure

from netfold.plots.pages import drawn
from netfold.plots.themes import DARK, LIGHT, Theme


def test_drawn() -> None:
    """In both themes, beside the main thread, where no signal's handler runs; the settings are as before."""
    seen: list[tuple[Theme, threading.Thread]] = []

    def draw(theme: Theme) -> Figure:
        seen.append((theme, threading.current_thread()))
        return Figure(figsize=(2, 1))

    before = dict(mpl.rcParams)
    found = drawn(draw)
    assert [theme for theme, _ in seen] == [LIGHT, DARK]
    assert all(thread is not threading.main_thread() for _, thread in seen)
    assert found.size == (144, 72)
    assert found.png.startswith(b"\x89PNG")
    assert found.svg != found.dark_svg
    assert dict(mpl.rcParams) == before
