"""Colours and type of the figures, in a light and a dark form; colour-blind safe (Okabe and Ito 2008)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Lines and points that need no dark form."""

BLUE, VERMILION, GREEN = COLOURS[:3]

MORE_CLASSES = ("#3B5BDB", "#E8590C", "#862E9C", "#5C940D")
"""Classes beyond those of a theme."""

RAMP, DENSITY, ABOUT_ONE = "viridis", "magma", "PuOr_r"
"""Colour maps: of values, of counts per area, and of values below and above 1."""


@dataclass(frozen=True)
class Theme:
    """Colours of a figure.

    Attributes:
        name: ``light`` or ``dark``.
        paper: background, ``ink`` text and axes, ``muted`` secondary text, ``grid`` rules.
        main: the network, ``other`` the network before training.
        classes: stretches of one class along a path, in order of appearance.
        ramp: name of the colour map for the parameter t.
    """

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    main: str
    other: str
    classes: tuple[str, ...]
    ramp: str = RAMP

    @property
    def settings(self) -> dict[str, Any]:
        """Matplotlib settings."""
        return {
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "text.color": self.ink,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "grid.color": self.grid,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 11,
            "font.size": 11,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "svg.fonttype": "path",
            "path.simplify": False,
            "svg.hashsalt": "netfold",
        }


LIGHT = Theme(
    "light",
    paper="#ffffff",
    ink="#1b1d22",
    muted="#6a6f7a",
    grid="#e6e7ea",
    main="#0072B2",
    other="#D55E00",
    classes=("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#999999"),
)
DARK = Theme(
    "dark",
    paper="#16181d",
    ink="#e8e9ec",
    muted="#9aa0ab",
    grid="#2b2f37",
    main="#56B4E9",
    other="#E69F00",
    classes=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#F0E442", "#777777"),
)
