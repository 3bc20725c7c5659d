"""Boxes from VNN-LIB files, as the verification community states what inputs a property is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from netfold.arguments import FileName, checked
from netfold.domains import Box
from netfold.errors import CorruptFileError, InvalidInputError
from netfold.files import require_file

LARGEST = 2**26
"""Bytes of a file, at most."""

DEEPEST = 100
"""Brackets within brackets."""

INPUT, OUTPUT = re.compile(r"X_(\d{1,9})"), re.compile(r"Y_\d{1,9}")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?")
TOKEN = re.compile(r"\s+|;[^\n]*|([()]|[^\s();]+)")


@checked
def read_box(path: FileName) -> Box:
    """The box of inputs in a VNN-LIB file: limits ``(assert (<= X_0 0.5))`` of all inputs, flat.

    Limits are rounded to float64. An input whose limits are equal stands still. Assertions about outputs alone are
    left out: they are what a property says of the box.

    Args:
        path: the file.

    Raises:
        InvalidInputError: there is no such file, it is too large, or its inputs are in no box.
        CorruptFileError: it is no VNN-LIB file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "property.vnnlib"
        ...     _ = file.write_text("(declare-const X_0 Real) (assert (<= X_0 0.5)) (assert (>= X_0 -1))")
        ...     box = read_box(file)
        >>> box.low.tolist(), box.high.tolist()
        ([-1.0], [0.5])
    """
    file = Path(path)
    try:
        require_file(file, "domain file")
    except FileNotFoundError as error:
        raise InvalidInputError(f"{file}: there is no such domain file") from error
    if file.stat().st_size > LARGEST:
        raise InvalidInputError(f"{file}: {file.stat().st_size:,} bytes; a domain file has at most {LARGEST:,}")
    try:
        text = file.read_text(encoding="utf-8")
        terms = list(_terms(text))
    except ValueError as error:
        raise CorruptFileError(f"{file} is no VNN-LIB file, or is damaged: {error}") from error
    limits: dict[int, list[float]] = {}
    for term in terms:
        _take_in(term, limits, file)
    return _box(limits, file)


def _terms(text: str) -> Iterator[list[Any]]:
    """The terms of a file, each a list of names and lists."""
    stack: list[list[Any]] = []
    for found in TOKEN.finditer(text):
        token = found[1]
        if token is None:
            continue
        if token == "(":
            if len(stack) == DEEPEST:
                raise ValueError(f"more than {DEEPEST} brackets within brackets")
            stack.append([])
        elif token == ")":
            if not stack:
                raise ValueError("a bracket closes that was not opened")
            done = stack.pop()
            if not stack:
                yield done
            else:
                stack[-1].append(done)
        elif not stack:
            raise ValueError(f"{token[:40]!r} stands outside all brackets")
        else:
            stack[-1].append(token)
    if stack:
        raise ValueError("a bracket is not closed")


def _take_in(term: list[Any], limits: dict[int, list[float]], file: Path) -> None:
    """Take in a declaration or an assertion."""
    match term:
        case ["declare-const", str(name), "Real"]:
            if found := INPUT.fullmatch(name):
                limits.setdefault(int(found[1]), [-np.inf, np.inf])
            elif not OUTPUT.fullmatch(name):
                raise InvalidInputError(f"{file}: '{name[:40]}' is neither an input X_i nor an output Y_i")
        case ["assert", claim]:
            _limit(claim, limits, file)
        case _:
            told = term[0] if term and isinstance(term[0], str) else ""
            raise CorruptFileError(f"{file} is no VNN-LIB file of real inputs: '({told[:40]} ...)' is not known")


def _limit(claim: Any, limits: dict[int, list[float]], file: Path) -> None:
    names = set(_names(claim))
    if names and all(OUTPUT.fullmatch(name) for name in names):
        return
    match claim:
        case ["and", *claims]:
            for part in claims:
                _limit(part, limits, file)
            return
        case [("<=" | ">=") as sign, str(left), str(right)]:
            if NUMBER.fullmatch(left):
                left, right, sign = right, left, "<=" if sign == ">=" else ">="
            found = INPUT.fullmatch(left)
            if found and NUMBER.fullmatch(right) and int(found[1]) in limits:
                own = limits[int(found[1])]
                value = float(right)
                own[0], own[1] = (own[0], min(own[1], value)) if sign == "<=" else (max(own[0], value), own[1])
                return
    raise InvalidInputError(
        f"{file}: its inputs are in no box: every assertion about them must be a limit of one, as (<= X_0 0.5)"
    )


def _names(claim: Any) -> Iterator[str]:
    """What a claim is about."""
    todo = [claim]
    while todo:
        part = todo.pop()
        if isinstance(part, list):
            todo += part[1:]
        elif not NUMBER.fullmatch(part):
            yield part


def _box(limits: dict[int, list[float]], file: Path) -> Box:
    if not limits or sorted(limits) != list(range(len(limits))):
        raise InvalidInputError(f"{file}: its inputs must be X_0, X_1 and so on, got {len(limits)} of them")
    both = np.array([limits[i] for i in range(len(limits))])
    try:
        return Box(both[:, 0], both[:, 1])
    except InvalidInputError as error:
        raise InvalidInputError(f"{file}: {error}") from error
