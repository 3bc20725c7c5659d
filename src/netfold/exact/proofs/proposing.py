"""Stars and lemmas for a line of a proof, proposed by the compiled search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from netfold.arrays import Floats, Ints
from netfold.exact.proofs import passes
from netfold.exact.proofs.check_regions import CutBlock

FIRST = 64
"""Stars and lemmas for which there is room at first."""


class SearchStart(NamedTuple):
    """Where a search begins: a point in the closure of the cell, on some of its walls."""

    point: list[float]
    rows: list[int]


class Proposed(NamedTuple):
    """What was found.

    Attributes:
        near: the functions in float64.
        stars: each as functions that vanish and a point; ``possible``: the signs of cuts around them, as in `passes`.
        lemmas: each as functions and the literals that they exclude.
        whole: whether they answer for all states.
    """

    near: Floats
    stars: list[tuple[list[int], list[float]]]
    possible: Ints
    lemmas: list[tuple[list[int], int]]
    whole: bool


def floats(rows: Sequence[list[int]], m: int) -> Floats:
    """Functions in float64, their gradients of length 1."""
    try:
        near = np.array(rows, np.float64).reshape(-1, m + 1)
        if not np.isfinite(near).all():
            raise OverflowError
    except OverflowError:
        near = np.array([_shrunk(row) for row in rows], np.float64).reshape(-1, m + 1)
    sizes = np.abs(near[:, :m]).max(1, initial=0.0, keepdims=True)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        near /= np.where(sizes > 0, sizes, 1.0)
        return near / np.maximum(np.sqrt((near[:, :m] ** 2).sum(1, keepdims=True)), 1e-300)


def _shrunk(row: list[int]) -> list[float]:
    shift = max(0, max(v.bit_length() for v in row) - 1000)
    return [float(v >> shift) for v in row]


def propose(block: CutBlock, functions: Sequence[list[int]], start: SearchStart) -> Proposed:
    """Search for what a line about a block needs. All of it is to be judged; it may also be too little."""
    m, cuts = block.m, len(block.cuts)
    near = floats(functions, m)
    if not np.isfinite(near).all():
        return Proposed(near, [], np.zeros((0, cuts), np.int64), [], False)
    columns = np.zeros((m + 1, m + len(near)))
    columns[:, m:] = near.T
    task = _task(block, columns, len(near) - cuts)
    x, rows = np.array(start.point), np.array(start.rows, np.int64) + m
    units, room = len(block.open), FIRST
    while True:
        place = passes.SearchRoom(
            D=np.zeros((m + 1, m + len(near))),
            basis=np.zeros(m, np.int64),
            side=np.zeros(m + len(near)),
            every=np.zeros(m + len(near)),
            active=np.zeros((units + 1, room), np.int64),
            counts=np.zeros(units + 1, np.int64),
            now=np.zeros(units + 1, np.int64),
        )
        found = passes.Proposals(
            basis=np.zeros((room, m), np.int64),
            points=np.zeros((room, m)),
            possible=np.zeros((room, cuts), np.int64),
            rows=np.zeros((2 * room, m + 1), np.int64),
            signs=np.zeros((2 * room, m + 1)),
            next=np.zeros(2 * room, np.int64),
            head=np.zeros(units, np.int64),
            number=np.zeros(3, np.int64),
        )
        how = passes.propose(task, place, found, x, rows)
        if how != passes.FULL:
            break
        room *= 4
    stars, lemmas, open_states = found.number.tolist()
    bases, points = found.basis[:stars].tolist(), found.points[:stars].tolist()
    excluded = zip(found.rows[:lemmas].tolist(), found.signs[:lemmas].tolist(), strict=True)
    return Proposed(
        near,
        [(sorted(b - m for b in basis if b >= m), point) for basis, point in zip(bases, points, strict=True)],
        found.possible[:stars],
        [_lemma(rows, signs, m, len(near) - cuts) for rows, signs in excluded],
        how == passes.MADE and not open_states,
    )


def _lemma(positions: list[int], signs: list[float], m: int, walls: int) -> tuple[list[int], int]:
    rows = [p - m for p in positions if p >= 0]
    cuts = [(r - walls, sign) for r, sign in zip(rows, signs, strict=False) if r >= walls]
    return rows, sum((1 if sign > 0 else 2) << 2 * j for j, sign in cuts)


def _task(block: CutBlock, columns: Floats, walls: int) -> passes.Task:
    states, begin, cut, sign, unit = [0], [0], [], [], [0] * len(block.cuts)
    for u, (masks, _) in enumerate(block.open):
        for mask in masks:
            at = 0
            while mask >> 2 * at:
                if literal := mask >> 2 * at & 3:
                    cut.append(at)
                    sign.append(1.0 if literal == 1 else -1.0)
                    unit[at] = u
                at += 1
            begin.append(len(cut))
        states.append(len(begin) - 1)
    return passes.Task(
        columns=columns,
        walls=np.zeros((walls, 0), np.int64),
        states=np.array(states, np.int64),
        begin=np.array(begin, np.int64),
        cut=np.array(cut, np.int64),
        sign=np.array(sign, np.float64),
        unit=np.array(unit, np.int64),
    )
