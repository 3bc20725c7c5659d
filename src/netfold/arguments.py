"""What arguments of public functions may be: said once, in their annotations, and checked at the door."""

from __future__ import annotations

import inspect
import math
import operator
import os
import sys
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from functools import cache, wraps
from numbers import Real
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

import numpy as np

from netfold.arrays import numbers
from netfold.errors import InvalidInputError

Checked = TypeVar("Checked", bound=Callable[..., Any])

REFUSED = (ValueError, TypeError, OverflowError)
"""What a function that reads a value raises where it is none."""


class Within(NamedTuple):
    """Limits of a number; the ends belong to it, unless it is ``between`` them."""

    low: float
    high: float = math.inf
    between: bool = False

    def __contains__(self, number: object) -> bool:
        return self.low < number < self.high if self.between else self.low <= number <= self.high  # type: ignore[operator]

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.between else f"{self.low:g} or more"
        return f"between {self.low:g} and {self.high:g}" if self.between else f"from {self.low:,} to {self.high:,}"


PositiveInt = Annotated[int, Within(1, 2**31 - 1)]
NotNegativeInt = Annotated[int, Within(0, 2**31 - 1)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
Depth = Annotated[int, Within(1, 10**6)]
Resamples = Annotated[int, Within(100, 10**6)]
Threads = Annotated[int, Within(1, 1024)]
Gain = Annotated[float, Within(1e-100, 1e100)]
Spread = Annotated[float, Within(0, 1e100)]
Positive = Annotated[float, Within(0, between=True)]
NotNegative = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1, between=True)]
Fraction = Annotated[float, Within(0, 1)]
FileName = str | os.PathLike[str]


class Wanted(NamedTuple):
    """What a value may be, in words, and a function that reads it or raises ``ValueError`` where it is none.

    Of a sequence: ``each`` is what its entries may be.
    """

    words: str
    read: Callable[[Any], Any]
    each: Any = None


class WrongEntry(ValueError):
    """An entry of a sequence, ``at`` such a place, that is not what its ``words`` say."""

    def __init__(self, at: str, words: str, value: Any) -> None:
        super().__init__(at)
        self.at, self.words, self.value = at, words, value


def checked(what: Checked) -> Checked:
    """Check a function's arguments, or those that make a dataclass, against their annotations.

    Checked are numbers (with `Within`), flags, words, names of files, choices, classes, and sequences and optional ones
    of these. Numbers of numpy and torch are taken as those of Python; other annotations are not looked at.

    Raises:
        InvalidInputError: when called, with an argument that is of another kind or out of range.

    Example:
        >>> @checked
        ... def half(number: Positive, digits: NotNegativeInt = 2) -> float:
        ...     return round(number / 2, digits)
        >>> half(1)
        0.5
        >>> half(-1.0)
        Traceback (most recent call last):
        netfold.errors.InvalidInputError: number must be a finite number above 0, got -1.0
    """
    if isinstance(what, type):
        what.__init__ = checked(what.__init__)  # type: ignore[misc]
        return what  # type: ignore[return-value]
    signature = inspect.signature(what)

    @wraps(what)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            return what(*args, **kwargs)  # Python's own words for an argument that is missing or unknown
        kinds = _kinds(what)
        for name, value in bound.arguments.items():
            if name in kinds:
                bound.arguments[name] = read(kinds[name], value, name)
        return what(*bound.args, **bound.kwargs)

    return call  # type: ignore[return-value]


def read(kind: Wanted, value: Any, name: str) -> Any:
    """A value of a kind.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return kind.read(value)
    except WrongEntry as entry:
        raise InvalidInputError(f"{name}{entry.at} must be {entry.words}, got {shown(entry.value)}") from None
    except REFUSED:
        alone = f"; write {name}=[{shown(value)}]" if kind.each and _takes(kind.each, value) else ""
        raise InvalidInputError(f"{name} must be {kind.words}, got {shown(value)}{alone}") from None


def require(kind: Any, value: Any, name: str) -> Any:
    """A value of what an annotation says, such as `Gain`, where no signature says it.

    Raises:
        InvalidInputError: it is none.
    """
    return read(_kind(kind), value, name)


def whole(value: Any, name: str, least: int = 1, most: int = 2**31 - 1) -> int:
    """A whole number within limits.

    Raises:
        InvalidInputError: it is none.
    """
    return require(Annotated[int, Within(least, most)], value, name)


def sequence(value: Any, name: str) -> Any:
    """Something to go through, as it is.

    Raises:
        InvalidInputError: it is no sequence.
    """
    return read(_several(None, iterator=True), value, name)


def point_shape(value: Any, name: str = "shape") -> tuple[int, ...]:
    """The shape of a point: whole numbers, 1 or more.

    Raises:
        InvalidInputError: it is none.
    """
    return tuple(whole(size, f"{name}[{i}]") for i, size in enumerate(sequence(value, name)))


def shown(value: Any) -> str:
    """A value for an error: short ones as they are, arrays by their shape, others by their class."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | Enum):
        try:
            text = repr(value)
        except ValueError:  # more digits than Python writes
            return "a number of thousands of digits"
        return text if len(text) <= 60 else f"{text[:57]}..."
    if isinstance(shape := getattr(value, "shape", None), tuple) and hasattr(value, "dtype"):
        return f"an array of shape {tuple(shape)} and type {value.dtype}"
    if isinstance(value, list | tuple | dict | set) and len(text := repr(value)) <= 60:
        return text
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, Wanted]:
    """The arguments that can be checked, by name."""
    found: dict[str, Wanted] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if (hint := parameter.annotation) is parameter.empty:
            continue
        if isinstance(hint, str):
            try:
                hint = eval(hint, vars(sys.modules[function.__module__]))
            except (NameError, AttributeError, TypeError):
                continue  # a name for type checkers alone, or a union with one
        if kind := _kind(hint):
            found[name] = kind
    return found


def _kind(hint: Any, within: Within | None = None) -> Any:
    """The kind that an annotation says, or ``None`` where it says nothing that could be checked."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _kind(inner[0], next((one for one in inner[1:] if isinstance(one, Within)), None))
    if origin in (Union, types.UnionType):
        return _one_of([_kind(one) for one in inner])
    if origin is Literal:
        return Wanted(_listed([repr(one) for one in inner]), lambda value: _chosen(value, inner))
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        several = _several(_kind(inner[0]), iterator=False)
        return several._replace(read=lambda value: tuple(several.read(value)))
    if origin in (Sequence, Iterable, list):
        return _several(_kind(inner[0]), iterator=origin is Iterable)
    if origin is os.PathLike:
        return Wanted("the name of a file", _file_name)
    if hint in SIMPLE:
        kind = SIMPLE[hint]
        return Wanted(f"{kind.words}{f' {within}' if within else ''}", lambda value: _limited(kind.read(value), within))
    if hint is types.NoneType or hint is None:
        return Wanted("None", lambda value: _instance(value, types.NoneType))
    if origin is np.ndarray:
        return Wanted("numbers", lambda value: numbers(value, "it"))
    if origin is Callable:
        return Wanted("a function", lambda value: value if callable(value) else _refuse())
    wanted = hint if origin is None else origin if origin is Mapping else None
    if not isinstance(wanted, type) or wanted in (Any, object) or getattr(wanted, "_is_protocol", False):
        return None
    words = f"{'an' if wanted.__name__[0] in 'AEIOU' else 'a'} {wanted.__name__}"
    if inspect.isabstract(wanted) and wanted.__module__.startswith("netfold."):
        known = ", ".join(one.__name__ for one in wanted.__subclasses__() if one.__module__.startswith("netfold."))
        words = f"one of {known}, or your own {wanted.__name__}"
    return Wanted(words, lambda value: _instance(value, wanted))


def _one_of(kinds: Sequence[Wanted | None]) -> Wanted | None:
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        return None

    def read_any(value: Any) -> Any:
        wrong = ValueError()
        for kind in known:
            try:
                return kind.read(value)
            except WrongEntry as entry:
                wrong = entry
            except REFUSED:
                continue
        raise wrong

    if any(kind.words == "the name of a file" for kind in known):
        known = [kind for kind in known if kind.words != "text"]
    words = [kind.words for kind in known if kind.words != "None"]
    return Wanted(f"{_listed(words)}{', or None' if len(words) < len(known) else ''}", read_any)


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _several(kind: Wanted | None, iterator: bool) -> Wanted:
    def read_all(value: Any) -> Any:
        if isinstance(value, str | bytes | Mapping) or not hasattr(value, "__iter__"):
            raise ValueError
        if iterator and not hasattr(value, "__len__"):
            return value  # what it gives is seen as it comes
        if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0 or len(value) >= 2**31:
            raise ValueError
        if kind is None:
            return value
        return (tuple if isinstance(value, tuple) else list)(_entry(kind, one, i) for i, one in enumerate(value))

    each = f", each {kind.words}" if kind else ""
    return Wanted(f"a sequence{each}", read_all, kind)


def _entry(kind: Wanted, value: Any, number: int) -> Any:
    try:
        return kind.read(value)
    except WrongEntry as entry:
        raise WrongEntry(f"[{number}]{entry.at}", entry.words, entry.value) from None
    except REFUSED:
        raise WrongEntry(f"[{number}]", kind.words, value) from None


def _takes(kind: Wanted, value: Any) -> bool:
    try:
        kind.read(value)
    except REFUSED:
        return False
    return True


def _refuse() -> Any:
    raise ValueError


def _instance(value: Any, wanted: type) -> Any:
    return value if isinstance(value, wanted) else _refuse()


def _chosen(value: Any, options: tuple[Any, ...]) -> Any:
    return value if isinstance(value, str | int) and value in options else _refuse()


def _limited(value: Any, within: Within | None) -> Any:
    return value if within is None or value in within else _refuse()


def _whole(value: Any) -> int:
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        raise TypeError
    return operator.index(value)


def _finite(value: Any) -> float:
    single = value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value
    if isinstance(single, bool) or not isinstance(single, Real):
        raise TypeError
    found = float(single)
    return found if math.isfinite(found) else _refuse()


def _flag(value: Any) -> bool:
    return bool(value) if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_") else _refuse()


def _file_name(value: Any) -> Any:
    name = os.fspath(value)
    return value if isinstance(name, str) and 0 < len(name) <= 4096 and "\0" not in name else _refuse()


SIMPLE: dict[Any, Wanted] = {
    int: Wanted("a whole number", _whole),
    float: Wanted("a finite number", _finite),
    bool: Wanted("True or False", _flag),
    str: Wanted("text", lambda value: _instance(value, str)),
}
