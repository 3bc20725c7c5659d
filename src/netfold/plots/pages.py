"""What pages are made of: figures drawn for light and dark pages, and templates that escape what they are given."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from netfold.exact.numerics.threads import beside, look
from netfold.plots.themes import DARK, LIGHT, Theme

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Drawn:
    """A figure, rendered.

    Attributes:
        svg: for a light page, and ``dark_svg`` for a dark one.
        dark_svg: for a dark page.
        png: the light form.
        size: width and height in points.
    """

    svg: bytes
    dark_svg: bytes
    png: bytes
    size: tuple[int, int]

    @property
    def light(self) -> str:
        """The light form as a data URI."""
        return data_uri(self.svg)

    @property
    def dark(self) -> str:
        """The dark form as a data URI."""
        return data_uri(self.dark_svg)


@beside
def drawn(draw: Callable[[Theme], Figure]) -> Drawn:
    """A figure in both themes; the same figure gives the same bytes.

    Not in the main thread, where a handler of signals could raise in matplotlib's compiled code, which takes that for
    an error of its own.

    Args:
        draw: draws it, with the theme's settings in force.
    """
    with mpl.rc_context(LIGHT.settings):  # pyright: ignore[reportArgumentType]
        figure = draw(LIGHT)
        svg, png = _svg(figure), _saved(figure, "png", dpi=200)
    look()
    with mpl.rc_context(DARK.settings):  # pyright: ignore[reportArgumentType]
        dark = _svg(draw(DARK))
    return Drawn(svg, dark, png, (round(figure.get_figwidth() * 72), round(figure.get_figheight() * 72)))


def data_uri(svg: bytes) -> str:
    """A picture as an address that holds all of it."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode("ascii")


def templates(*packages: str) -> Environment:
    """The templates of some packages, each in its folder ``templates``; what they are given is escaped."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _svg(figure: Figure) -> bytes:
    return _saved(figure, "svg", dpi=150, metadata={"Date": None, "Creator": None})


def _saved(figure: Figure, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, **options)
    return file.getvalue()
