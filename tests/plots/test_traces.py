"""Figures draw the numbers they are given, in colours that can be read."""

from __future__ import annotations

import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from netfold.plots import bound, traces
from netfold.plots.axes import _on
from netfold.plots.bound import BoundOfRegions
from netfold.plots.themes import DARK, LIGHT, Theme
from netfold.reporting.figures import draw_all
from netfold.reporting.gather import ReportData


def axes():
    return Figure().subplots()


def test_a_tick_for_every_breakpoint_in_its_layer(small: ReportData) -> None:
    """Row by row the drawn positions are the breakpoints of that layer, top layer first."""
    trace = small.example.trace
    ax = traces.breakpoints(trace, axes())
    assert len(ax.lines) == len(trace.layers)
    for layer, ticks in enumerate(ax.lines):
        at = np.asarray(ticks.get_xdata())[::3]
        np.testing.assert_allclose(at, trace.breakpoints[trace.breakpoint_layers == layer])
    assert ax.get_xlabel()


def test_the_class_band_covers_the_path(small: ReportData) -> None:
    """Its stretches begin at 0, meet at the class changes and end at 1."""
    trace = small.example.trace
    bars = [p for p in traces.breakpoints(trace, axes()).patches if p.get_height() > 0.5]  # type: ignore[attr-defined]
    edges = [p.get_x() for p in bars] + [bars[-1].get_x() + bars[-1].get_width()]  # type: ignore[attr-defined]
    np.testing.assert_allclose(edges, [0, *trace.output.class_changes, 1], atol=1e-12)


@pytest.mark.parametrize("measure", ["length", "growth", "transitions", "regions"])
def test_means_and_theory_are_drawn(small: ReportData, measure: str) -> None:
    """The marked line is the mean over paths (geometric for ratios), theory is dashed, axes have labels."""
    theory = np.arange(1.0, 1.0 + len(small.layers))
    ax = traces.by_layer({"now": small.trained}, measure, theory, 0.1 * theory, axes())
    assert ax.get_ylabel() == traces.LABELS[measure]
    assert ax.get_xlabel() == "layer"
    values = small.trained.values(measure)
    if measure == "length":
        values = values / values[:, :1]
    logarithmic = measure in ("length", "growth")
    means = np.exp(np.log(values).mean(0)) if logarithmic else values.mean(0)
    drawn = [np.asarray(line.get_ydata(), float) for line in ax.lines]
    assert any(len(y) == len(means) and np.allclose(y, means) for y in drawn)
    assert any(len(y) == len(theory) and np.allclose(y, theory) for y in drawn)
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["now", traces.THEORY]


def test_bound_rows(small: ReportData) -> None:
    """Marks stand at the logarithms; without a bound over all inputs there are two."""
    for everywhere, rows in ((50.0, 3), (None, 2)):
        ax = bound.bound(small.trained, BoundOfRegions(6, 48, 5.0, everywhere), axes())
        marks = [float(np.asarray(line.get_xdata())[0]) for line in ax.lines if line.get_marker() != "None"]
        assert len(marks) == rows
        assert marks[0] == pytest.approx(np.log10(np.mean([t.regions for t in small.trained])))


def test_results_plot_themselves(small: ReportData) -> None:
    """trace.plot and traces.plot draw on the axes given and return them."""
    ax = axes()
    assert small.trained[0].plot(ax) is ax
    other = axes()
    assert small.trained.plot("growth", other) is other
    assert other.get_yscale() == "log"


def test_a_figure_is_made_where_none_is_given(small: ReportData) -> None:
    """Without axes a new figure with labelled axes is made."""
    for ax in (small.trained[0].plot(), small.trained.plot("length")):
        assert ax.figure is not None
        assert ax.get_xlabel()
        plt.close(ax.figure)  # type: ignore[arg-type]


def test_settings_are_left_alone(small: ReportData) -> None:
    """Drawing a report's figures changes no global matplotlib setting, and gives the same bytes twice."""
    before = dict(mpl.rcParams)
    first = draw_all(small)
    assert dict(mpl.rcParams) == before
    second = draw_all(small)
    assert {name: d.light for name, d in first.items()} == {name: d.light for name, d in second.items()}
    assert set(first) == {"length", "transitions", "path", "pictures", "bound", "sensitivity", "slice"}
    assert all(d.png.startswith(b"\x89PNG") and d.light != d.dark for d in first.values())


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    channels = [int(c, 16) / 255 for c in re.findall("[0-9a-fA-F]{2}", colour)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted([luminance(a), luminance(b)], reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
def test_colours_can_be_read(theme: Theme) -> None:
    """Text has contrast 4.5 (WCAG AA) on the paper, marks 3; class names on their band too."""
    assert contrast(theme.ink, theme.paper) > 7
    assert contrast(theme.muted, theme.paper) > 4.5
    assert contrast(theme.main, theme.paper) > 3
    assert contrast(theme.other, theme.paper) > 3
    for colour in theme.classes:
        assert contrast(_on(colour), colour) > 4.5
