"""One path looked at closely: its images layer by layer, in two dimensions, and the outputs along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from netfold.capture import Program
from netfold.paths import Line
from netfold.progress import one_thread
from netfold.reporting.pairs import Pairs
from netfold.results.trace import Trace
from netfold.results.traces import Traces

MOST_POINTS = 600
"""Vertices of an image that are drawn; a path with more is thinned."""

EVENLY = 129
"""Points at even parameters at which images of smooth networks are drawn, besides those at breakpoints."""

MOST_VALUES = 40_000_000
"""Numbers that all images of the drawn vertices may hold together (320 MB in float64)."""


@dataclass(frozen=True)
class Picture:
    """The image of a path after a layer, in its two leading principal components.

    Attributes:
        name: the label of the layer, or ``output``.
        xy: shape ``(vertices, 2)``: coordinates in the layer's own units, centred.
        explained: share of the image's variance along the path that two components hold.
        length: of the whole image over the length of the input path.
        path_length: length of the input path.
    """

    name: str
    xy: NDArray[np.float64]
    explained: float
    length: float
    path_length: float


@dataclass(frozen=True)
class Example:
    """One pair of inputs and what happens between them.

    Attributes:
        rows: the inputs' rows in the data.
        start: the first input, in the model's input shape, and ``end`` the second.
        image: height, width and channels to show an input as a picture, or ``None``.
        trace: through the network, and ``initial_trace`` through the network before training.
        t: parameters of the vertices drawn: the ends and (all, or evenly chosen) breakpoints.
        thinned: whether breakpoints were left out of ``t``.
        outputs: the network's output at the vertices, shape ``(vertices, outputs)``.
        pictures: layer by layer, then the output; ``initial_pictures`` before training.
        initial_t: as ``t``, of the network before training.
    """

    rows: tuple[int, int]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    image: tuple[int, int, int] | None
    trace: Trace
    initial_trace: Trace | None
    t: NDArray[np.float64]
    thinned: bool
    outputs: NDArray[np.float64]
    pictures: tuple[Picture, ...]
    initial_pictures: tuple[Picture, ...]
    initial_t: NDArray[np.float64]


def typical_pair(traces: Traces) -> int:
    """The pair with the median number of regions among those whose ends differ in class (or among all)."""
    between = [i for i, t in enumerate(traces) if t.output.classes[0] != t.output.classes[-1]]
    candidates = between or list(range(len(traces)))
    regions = np.array([traces[i].regions for i in candidates])
    return candidates[int(np.argmin(np.abs(regions - np.median(regions))))]


def example(
    program: Program,
    traces: Traces,
    initial: Program | None,
    initial_traces: Traces | None,
    points: NDArray[np.float64],
    pairs: Pairs,
    image_shape: tuple[int, ...] | None = None,
) -> Example:
    """Look at a typical pair closely.

    Args:
        program: the network, and ``traces`` the paths between the pairs.
        traces: through the network.
        initial: the network before training, and ``initial_traces`` the same paths through it.
        initial_traces: through the network before training.
        points: the data, and ``pairs`` the rows of each path's ends.
        pairs: rows of the ends.
        image_shape: how to show a point as a picture; found from its shape where possible.

    Returns:
        The example.
    """
    which = typical_pair(traces)
    a, b = pairs.rows[which].tolist()
    line = Line(points[a], points[b])
    t, outputs, pictures = pictures_of(program, traces[which], line)
    initial_t, initial_pictures = np.empty(0), ()
    if initial is not None and initial_traces is not None:
        initial_t, _, initial_pictures = pictures_of(initial, initial_traces[which], line)
    return Example(
        rows=(a, b),
        start=points[a],
        end=points[b],
        image=picture_shape(image_shape or points.shape[1:]),
        trace=traces[which],
        initial_trace=initial_traces[which] if initial_traces is not None else None,
        t=t,
        thinned=len(t) < traces[which].regions + 1 and traces[which].method != "sampled",
        outputs=outputs,
        pictures=pictures,
        initial_pictures=initial_pictures,
        initial_t=initial_t,
    )


def pictures_of(
    program: Program, trace: Trace, line: Line
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[Picture, ...]]:
    """Vertices of a path, the outputs there, and its images in two dimensions.

    Between breakpoints the image is straight, so its vertices are all there is to draw.
    """
    most = max(2, min(MOST_POINTS, MOST_VALUES // max(1, sum(layer.units for layer in program.layers))))
    every = np.concatenate([[0.0], trace.breakpoints, [1.0]])
    if trace.method == "sampled":
        # between breakpoints a smooth network bends, too
        every = np.unique(np.concatenate([every, np.linspace(0.0, 1.0, EVENLY)])) if len(every) < EVENLY else every
        most = min(most, 2 * EVENLY)
    t = every if len(every) <= most else every[np.linspace(0, len(every) - 1, most).round().astype(np.int64)]
    with torch.no_grad():
        images = [image.cpu().numpy() for image in program.images(program.points(line(t), "the path"))]
    names = [*(layer.label for layer in trace.layers), "output"]
    relative = trace.lengths[1:] / trace.lengths[0]
    pictures = tuple(
        Picture(name, *flat(image, t), float(length), trace.input_length)
        for name, image, length in zip(names, images, relative, strict=True)
    )
    return t, images[-1], pictures


def flat(image: NDArray[np.float64], t: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The two leading principal components of a polygonal curve, and their share of its variance.

    Vertices weigh as much as the stretch of t around them. The signs are chosen so that the curve ends to the
    right of, and above, where it starts.

    Args:
        image: vertices, shape ``(vertices, features)``.
        t: their parameters.

    Returns:
        Coordinates of shape ``(vertices, 2)`` and the share, 1 for a curve in a plane.

    Example:
        >>> xy, share = flat(np.array([[0.0, 0.0, 1.0], [0.0, 6.0, 1.0]]), np.array([0.0, 1.0]))
        >>> xy[:, 0].round(6).tolist(), round(share, 6)
        ([-3.0, 3.0], 1.0)
    """
    weight = np.diff(t, prepend=t[0]) + np.diff(t, append=t[-1])
    weight = weight / weight.sum()
    centred = image - weight @ image
    scaled = np.sqrt(weight)[:, None] * centred
    with one_thread():
        directions = torch.linalg.svd(torch.from_numpy(scaled), full_matrices=False)[2][:2].numpy().T
    xy = centred @ directions
    xy = np.pad(xy, ((0, 0), (0, 2 - xy.shape[1])))
    xy *= np.where(xy[-1] < xy[0], -1.0, 1.0)
    total = float((scaled**2).sum())
    share = float((weight @ xy**2).sum() / total) if total > 0 else 1.0
    return xy, min(share, 1.0)


def picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Height, width and channels of a point that is a picture: ``(h, w)``, ``(1, h, w)`` or ``(3, h, w)``.

    A table that is far longer than wide holds tokens or samples, not pixels.

    Example:
        >>> picture_shape((8, 8)), picture_shape((3, 32, 32)), picture_shape((100,)), picture_shape((16, 128))
        ((8, 8, 1), (32, 32, 3), None, None)
    """
    if len(shape) == 2 and min(shape) > 1 and max(shape) <= 4 * min(shape):
        return shape[0], shape[1], 1
    if len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1:
        return shape[1], shape[2], shape[0]
    return None
