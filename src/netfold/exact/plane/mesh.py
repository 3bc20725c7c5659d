"""The finished polygons of a plane as one mesh: vertices counted once, edges with the polygon on the other side.

Polygons stand in the order in which they were cut, so that all that lie in one region of an earlier layer follow
each other; a coarser partition is the mesh with the edges of later layers left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netfold.arrays import Floats, Ints
from netfold.exact.numerics.compiled import compiled
from netfold.exact.numerics.threads import aside
from netfold.exact.plane.splitting import PER_LAYER, Loops
from netfold.exact.plane.vertices import Vertices, mix


@dataclass(frozen=True, eq=False)
class Mesh:
    """Convex polygons that share their vertices.

    Attributes:
        xy: coordinates in the plane, one row a vertex; ``made`` the layer that made it (-1: a corner).
        start: polygon ``p`` has the vertices ``loop[start[p] : start[p + 1]]``, counter-clockwise.
        loop: vertices, and ``label`` what made the edge from each to the next: its layer times ``PER_LAYER`` plus the
            unit, or -1 to -4 for the sides of the rectangle.
        ids: for every polygon, the number of the region it lies in after each layer; the last column is by class.
        states: bits of all states of every polygon.
    """

    xy: Floats
    made: Ints
    start: Ints
    loop: Ints
    label: Ints
    ids: Ints
    states: Ints

    @property
    def edge_layers(self) -> Ints:
        """The layer that made each edge; -1 for sides of the rectangle."""
        return np.where(self.label < 0, -1, self.label // PER_LAYER)

    @property
    def edge_units(self) -> Ints:
        """The unit that made each edge; -1 for sides of the rectangle."""
        return np.where(self.label < 0, -1, self.label % PER_LAYER)

    @property
    def owners(self) -> Ints:
        """The polygon each edge belongs to."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))

    @property
    def heads(self) -> Ints:
        """The vertex where each edge ends."""
        following = np.append(self.loop[1:], 0)
        following[self.start[1:] - 1] = self.loop[self.start[:-1]]
        return following

    def areas(self) -> Floats:
        """Areas in the plane's coordinates; positive for counter-clockwise loops."""
        return aside(polygon_areas, self.xy, self.start, self.loop)

    def twins(self) -> Ints:
        """The same edge in the polygon on its other side; -1 on the rectangle's border."""
        return aside(find_twins, self.loop, self.heads)

    def locate(self, points: Floats) -> Ints:
        """The polygon that holds each point; -1 where none does."""
        return aside(find_polygons, np.ascontiguousarray(points), self.xy, self.start, self.loop)

    def coarse(self, layer: int) -> tuple[Ints, Ints, Ints]:
        """Start, loop and label of the regions after a layer, counted from 0; -1 is the whole rectangle."""
        cell = self.ids[:, layer] if layer >= 0 else np.zeros(len(self.ids), np.int64)
        first = np.flatnonzero(np.append(True, cell[1:] != cell[:-1]))
        kept = np.flatnonzero(self.edge_layers <= layer)
        begin = np.searchsorted(kept, np.append(self.start[first], self.start[-1]))
        return aside(outlines, begin, self.loop[kept], self.heads[kept], self.label[kept], self.made, layer)


@dataclass
class MeshSink:
    """Collects finished polygons and makes the mesh of them."""

    parts: list[tuple[NDArray[Any], ...]] = field(default_factory=list)

    def add(self, count: int, pieces: Loops, vertices: Vertices, ids: Ints, states: Ints) -> None:
        """Take some polygons; ``count`` vertices are in use."""
        index = np.full(count, -1, np.int32)
        used = np.unique(pieces.loop)
        index[used] = np.arange(len(used), dtype=np.int32)
        self.parts.append(
            (
                vertices.xy[used],
                vertices.key[used],
                vertices.made[used].astype(np.int16),
                np.diff(pieces.start).astype(np.int32),
                index[pieces.loop],
                pieces.label,
                ids,
                states,
            )
        )

    def join(self, following: MeshSink, offset: Ints) -> None:
        """Add the polygons that follow; the numbers of their ancestors after each layer lack an offset."""
        for part in following.parts:
            part[6][:] += offset
        self.parts += following.parts

    def mesh(self) -> Mesh:
        """All polygons, with every vertex once."""
        sizes = [len(part[1]) for part in self.parts]
        halves = [len(part[4]) for part in self.parts]
        # column by column, so that only one of them is held twice
        columns = [list(column) for column in zip(*self.parts, strict=True)]
        self.parts = []
        xy, key, made, lengths, loop, label, ids, states = (np.concatenate(columns.pop(0)) for _ in range(8))
        place = loop + np.repeat(np.cumsum([0, *sizes[:-1]]), halves)
        # in order of appearance in the loops, which no block size and no thread count changes
        number, first = aside(number_keys, key[place])
        first = place[first]
        return Mesh(
            xy=xy[first],
            made=made[first].astype(np.int64),
            start=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            loop=number,
            label=label,
            ids=ids,
            states=states,
        )


@compiled()
def _size(entries):
    size = 16
    while size < 2 * entries:
        size *= 2
    return size


@compiled()
def number_keys(keys):
    """Numbers of distinct keys in order of appearance, and where each appears first."""
    size = _size(len(keys))
    table = np.full(size, -1, np.int64)
    number, first, n = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64), 0
    for i in range(len(keys)):
        slot = np.int64(mix(keys[i]) & np.uint64(size - 1))
        while table[slot] >= 0 and keys[first[table[slot]]] != keys[i]:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot], first[n] = n, i
            n += 1
        number[i] = table[slot]
    return number, first[:n].copy()


@compiled()
def find_twins(tails, heads):
    """For every directed edge the one that runs the other way; -1 if there is none."""
    size = _size(len(tails))
    table, twin = np.full(size, -1, np.int64), np.full(len(tails), -1, np.int64)
    for i in range(len(tails)):
        low, high = min(tails[i], heads[i]), max(tails[i], heads[i])
        slot = np.int64(mix((np.uint64(low) << np.uint64(32)) | np.uint64(high)) & np.uint64(size - 1))
        while table[slot] >= 0:
            k = table[slot]
            if twin[k] < 0 and tails[k] == heads[i] and heads[k] == tails[i]:
                twin[i], twin[k] = k, i
                break
            slot = (slot + 1) & (size - 1)
        if twin[i] < 0:
            table[slot] = i
    return twin


@compiled()
def polygon_areas(xy, start, loop):
    """Areas by the shoelace formula, around each polygon's first vertex so that small ones keep their digits."""
    areas = np.zeros(len(start) - 1)
    for p in range(len(areas)):
        x, y = xy[loop[start[p]], 0], xy[loop[start[p]], 1]
        for i in range(start[p] + 1, start[p + 1] - 1):
            v, w = loop[i], loop[i + 1]
            areas[p] += 0.5 * ((xy[v, 0] - x) * (xy[w, 1] - y) - (xy[v, 1] - y) * (xy[w, 0] - x))
    return areas


@compiled()
def outlines(begin, tails, heads, labels, made, layer):
    """Loops around cells from the edges that remain: edges ``begin[c]`` to ``begin[c + 1]`` belong to cell ``c``."""
    start, loop, label = np.zeros(len(begin), np.int64), np.empty_like(tails), np.empty_like(labels)
    total = 0
    for c in range(len(begin) - 1):
        first, last = begin[c], begin[c + 1]
        order, sorted_tails = tails[:0], tails[:0]
        at = first
        for _ in range(last - first):
            if made[tails[at]] <= layer:
                loop[total], label[total] = tails[at], labels[at]
                total += 1
            following = at + 1 if at + 1 < last else first
            if tails[following] != heads[at]:
                if len(order) == 0:
                    order = np.argsort(tails[first:last])
                    sorted_tails = tails[first:last][order]
                k = np.searchsorted(sorted_tails, heads[at])
                if k == last - first or sorted_tails[k] != heads[at]:
                    break
                following = first + order[k]
            at = following
            if at == first:
                break
        start[c + 1] = total
    return start, loop[:total].copy(), label[:total].copy()


@compiled()
def border_lengths(xy, loop, heads, label, layers, frame, counts):
    """Length of the borders inside the rectangle, by the layer that made them; each is an edge of two polygons."""
    lengths = np.zeros(counts)
    for i in range(len(loop)):
        if label[i] >= 0:
            total = 0.0
            x, y = xy[heads[i], 0] - xy[loop[i], 0], xy[heads[i], 1] - xy[loop[i], 1]
            for j in range(len(frame)):
                step = x * frame[j, 0] + y * frame[j, 1]
                total += step * step
            lengths[layers[i]] += 0.5 * np.sqrt(total)
    return lengths


@compiled()
def _inside(x, y, xy, start, loop, p):
    """Whether a polygon holds a point, its border included."""
    for i in range(start[p], start[p + 1]):
        v, w = loop[i], loop[i + 1] if i + 1 < start[p + 1] else loop[start[p]]
        if (xy[w, 0] - xy[v, 0]) * (y - xy[v, 1]) < (xy[w, 1] - xy[v, 1]) * (x - xy[v, 0]):
            return False
    return True


@compiled()
def find_polygons(points, xy, start, loop):
    """For every point the first polygon that holds it, by way of a grid of buckets; -1 where none does."""
    polygons = len(start) - 1
    side = max(1, min(512, int(np.sqrt(polygons))))
    low, high = np.array([np.inf, np.inf]), np.array([-np.inf, -np.inf])
    for v in range(len(xy)):
        for k in range(2):
            low[k], high[k] = min(low[k], xy[v, k]), max(high[k], xy[v, k])
    scale = side / (high - low)
    boxes = np.empty((polygons, 4), np.int64)
    counts = np.zeros(side * side + 1, np.int64)
    for p in range(polygons):
        for k in range(2):
            first, last = side, -1
            for i in range(start[p], start[p + 1]):
                at = min(max(int((xy[loop[i], k] - low[k]) * scale[k]), 0), side - 1)
                first, last = min(first, at), max(last, at)
            boxes[p, 2 * k], boxes[p, 2 * k + 1] = first, last
        for x in range(boxes[p, 0], boxes[p, 1] + 1):
            for y in range(boxes[p, 2], boxes[p, 3] + 1):
                counts[x * side + y + 1] += 1
    begin = np.cumsum(counts)
    filled, bucket = begin.copy(), np.empty(begin[-1], np.int64)
    for p in range(polygons):
        for x in range(boxes[p, 0], boxes[p, 1] + 1):
            for y in range(boxes[p, 2], boxes[p, 3] + 1):
                bucket[filled[x * side + y]] = p
                filled[x * side + y] += 1
    found = np.full(len(points), -1, np.int64)
    for n in range(len(points)):
        x, y = points[n, 0], points[n, 1]
        if not (low[0] <= x <= high[0] and low[1] <= y <= high[1]):
            continue
        cell = min(int((x - low[0]) * scale[0]), side - 1) * side + min(int((y - low[1]) * scale[1]), side - 1)
        for i in range(begin[cell], begin[cell + 1]):
            if _inside(x, y, xy, start, loop, bucket[i]):
                found[n] = bucket[i]
                break
    return found
