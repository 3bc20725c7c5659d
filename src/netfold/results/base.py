"""`Result`: what every result can do, from what its fields declare once: meaning, dimensions and unit."""

from __future__ import annotations

import html
import importlib
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from functools import cache, cached_property
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    NamedTuple,
    Self,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from numpy.typing import NDArray

from netfold.arguments import FileName, checked
from netfold.files import read_dataset, write_dataset
from netfold.results.status import Standing

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


DTYPES: dict[Any, Any] = {int: np.int64, float: np.float64, bool: np.bool_}
"""What Python's numbers are stored as."""


class Quantity(NamedTuple):
    """What a number or a word of a result is.

    Attributes:
        meaning: what it is, in words; ``unit`` its unit.
        dims: the dimensions of an array, ``()`` for a number that becomes a variable of data sets; ``None`` for what
            becomes an attribute.
        name: its name in data sets, where it is another than that of the field.
        coordinate: whether it labels a dimension.
        told_by: reads it from what is stored of other fields, where it is not stored itself.
    """

    meaning: str
    dims: tuple[str, ...] | None = None
    unit: str = "1"
    name: str = ""
    coordinate: bool = False
    told_by: Callable[[Mapping[str, Any]], Any] | None = None


class Variable(NamedTuple):
    """An array of a data set, and what it is."""

    values: NDArray[Any]
    quantity: Quantity


class Declared(NamedTuple):
    """A field of a record, what it is and of which type."""

    field: Field[Any]
    quantity: Quantity
    hint: Any

    @property
    def name(self) -> str:
        """The name in data sets."""
        return self.quantity.name or self.field.name


def measured(
    meaning: str,
    dims: tuple[str, ...] | None = None,
    unit: str = "1",
    *,
    name: str = "",
    coordinate: bool = False,
    told_by: Callable[[Mapping[str, Any]], Any] | None = None,
    **options: Any,
) -> Any:
    """Declare a field of a record: see `Quantity`; further options are those of `dataclasses.field`."""
    return field(metadata={"quantity": Quantity(meaning, dims, unit, name, coordinate, told_by)}, **options)


def variable(
    values: Any, meaning: str, dims: tuple[str, ...], unit: str = "1", *, coordinate: bool = False
) -> Variable:
    """An array that is in data sets, but in no field; lists are of words."""
    return Variable(
        _array(values, str if isinstance(values, list) else None), Quantity(meaning, dims, unit, coordinate=coordinate)
    )


class above:
    """A method whose code stands in a room above, found by name when it is asked for.

    ``plot = above("netfold.plots.traces:breakpoints")`` gives a class the method ``plot``, which calls the function
    with the object in front. Its help and its signature are those of the function.
    """

    places: ClassVar[list[str]] = []

    def __init__(self, place: str) -> None:
        self.place = place
        self.places.append(place)

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The function of that name."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)

    def __get__(self, result: object, owner: type | None = None) -> Callable[..., Any]:
        return self.function if result is None else MethodType(self.function, result)


@dataclass_transform(eq_default=False, frozen_default=True, field_specifiers=(measured, field))
class Record:
    """A frozen dataclass of declared fields: subclasses are dataclasses without saying so.

    Two are equal where every compared field is, arrays and all, with NaN equal to NaN.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, eq=False, repr=cls.__repr__ is object.__repr__)(cls)
        known = (f for f in fields(cls) if f.metadata and not f.name.startswith("_"))
        told = [_paragraph(f"{f.name}: {_told(f.metadata['quantity'])}") for f in known]
        if told:
            text, mark, example = (cls.__doc__ or "").partition("\n    Example:")
            attributes = "\n".join(["", "", "    Attributes:", *told, ""])
            cls.__doc__ = f"{text.rstrip()}{attributes}{mark}{example}{'' if mark else '    '}"

    def __eq__(self, other: object) -> bool:
        return same(self, other) if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        values = (getattr(self, f.name) for f in fields(self) if f.compare)
        whole = (v.tobytes() if isinstance(v, np.ndarray) and v.dtype.kind == "i" else v for v in values)
        return hash((type(self), *(value for value in whole if isinstance(value, str | int | bytes))))

    def to_dict(self) -> dict[str, Any]:
        """Every number and word in plain dictionaries and lists, for JSON; what is not finite is None."""
        return plain({d.name: getattr(self, d.field.name) for d in declared(type(self))})

    def _variables(self) -> dict[str, Variable]:
        """What is stored as arrays, by name; the fields of a record inside stand beside the others."""
        found: dict[str, Variable] = {}
        for one in declared(type(self)):
            value, dims = getattr(self, one.field.name), one.quantity.dims
            if isinstance(value, Record):
                found |= value._variables()
            elif dims is None or one.quantity.told_by:
                continue
            elif record := _record(one.hint):
                found |= record._columns(value, dims)
            else:
                found[one.name] = Variable(_array(value, _element(one.hint)), one.quantity)
        return found

    @classmethod
    def _columns(cls, rows: Sequence[Self], dims: tuple[str, ...]) -> dict[str, Variable]:
        """Records one after the other, as one array a field."""
        return {
            one.name: Variable(
                _array([getattr(row, one.field.name) for row in rows], one.hint), one.quantity._replace(dims=dims)
            )
            for one in declared(cls)
        }

    @classmethod
    def _read(cls, stored: Mapping[str, Any]) -> Self:
        """The record out of what is stored."""
        values: dict[str, Any] = {}
        for one in declared(cls):
            if one.quantity.told_by:
                values[one.field.name] = one.quantity.told_by(stored)
            elif isinstance(one.hint, type) and issubclass(one.hint, Record):
                values[one.field.name] = one.hint._read(stored)
            elif record := _record(one.hint):
                values[one.field.name] = record._rows(stored)
            elif one.name in stored or one.field.default is MISSING:
                values[one.field.name] = _parsed(one.hint, stored.get(one.name))
        return cls(**values)

    @classmethod
    def _rows(cls, stored: Mapping[str, Any]) -> tuple[Self, ...]:
        columns = [[_parsed(one.hint, cell) for cell in stored[one.name]] for one in declared(cls)]
        return tuple(cls(*row) for row in zip(*columns, strict=True))


class Tabular:
    """What tabulates, shows its table in notebooks, and writes it."""

    RULE: ClassVar[str] = "Counted"

    def __str__(self) -> str:
        """The result in a line; its `repr` is a table."""
        return repr(self).splitlines()[0]

    def to_dataframe(self) -> pd.DataFrame:
        """The numbers as a table."""
        raise NotImplementedError

    def to_xarray(self) -> xr.Dataset:
        """The table as a data set: a variable a column, as text where it is not all of one kind of number."""
        import xarray as xr

        table = self.to_dataframe()
        texts = {name: table[name].map(_word) for name in table if table[name].dtype.kind == "O"}
        rows = table.assign(**texts).rename_axis(table.index.name or "row")
        told = {"format": f"netfold table of {type(self).__name__}", "result": repr(self)}
        return xr.Dataset.from_dataframe(rows).assign_attrs(told)

    @checked
    def save(self, path: FileName) -> None:
        """Write `to_xarray` to a netCDF-4 file, whole or not at all.

        Args:
            path: the file, usually with the ending ``.nc``.

        Raises:
            InvalidInputError: the folder does not exist.
        """
        write_dataset(self.to_xarray(), path)

    def _shown(self) -> pd.DataFrame:
        """The table for notebooks."""
        return self.to_dataframe()

    def _repr_html_(self) -> str:
        name, title = type(self).__name__, repr(self).splitlines()[0]
        title = name if title.startswith(f"{name}(") else title
        body = self._shown().to_html(index=False, float_format=lambda v: f"{v:.4g}", na_rep="", border=0, max_rows=40)
        rule = getattr(self, "counting_rule", "")
        note = f"<p><small>{html.escape(f'{self.RULE}: {rule}', quote=False)}</small></p>" if rule else ""
        return f"<p><strong>{html.escape(title, quote=False)}</strong></p>{body}{note}"


class Saved(Tabular):
    """A result that netCDF-4 files hold without loss."""

    FORMAT: ClassVar[str] = ""

    def to_xarray(self) -> xr.Dataset:
        """Everything as a data set, with meanings and units in the attributes of its variables."""
        raise NotImplementedError

    @classmethod
    def _of(cls, stored: xr.Dataset) -> Self:
        """The result out of its data set."""
        raise NotImplementedError

    @classmethod
    @checked
    def load(cls, path: FileName, group: str | None = None) -> Self:
        """Read what `save` wrote: equal to what was saved, with the same provenance.

        Args:
            path: the file.
            group: the netCDF group to read, as in the ``measurements.nc`` of a report (``trained``, ``initial``).

        Raises:
            FileNotFoundError: there is no such file.
            UntrustedFileError: the file is a pickle.
            CorruptFileError: the file is damaged, or holds something else.
        """
        return read_dataset(path, cls.FORMAT, " ".join(cls.FORMAT.split()[1:-1]), cls._of, group)


class Result(Saved, Record):
    """A result that is one record; all follows from its fields, and from `_more` what is stored beside them."""

    def __repr__(self) -> str:
        found = {d.name: getattr(self, d.field.name) for d in declared(type(self)) if not d.quantity.dims}
        rule = found.pop("counting_rule", "")
        lines = [f"  {name.replace('_', ' ')}: {_shortly(v)}" for name, v in found.items() if _tells(name, v)]
        return "\n".join([self._headline(), *lines, *([f"{self.RULE.lower()}: {rule}"] if rule else [])])

    def _headline(self) -> str:
        """The result in a line."""
        return type(self).__name__

    def to_dataframe(self) -> pd.DataFrame:
        """One row: every single number and word."""
        import pandas as pd

        single = (d for d in declared(type(self)) if not d.quantity.dims and d.field.name != "provenance")
        return pd.DataFrame([{d.name: getattr(self, d.field.name) for d in single}])

    def to_xarray(self) -> xr.Dataset:
        """Everything as a data set: arrays with meaning and unit, words and other numbers as attributes, told too."""
        words = self._attributes()
        told = {one.name: _told(one.quantity) for one in declared(type(self)) if one.name in words}
        attributes = {"format": self.FORMAT, **words, "meanings": json.dumps(told, ensure_ascii=False)}
        return dataset({**self._variables(), **self._more()}, attributes)

    @classmethod
    def _of(cls, stored: xr.Dataset) -> Self:
        return cls._read({**stored.attrs, **{str(name): found.values for name, found in stored.variables.items()}})

    def _attributes(self) -> dict[str, Any]:
        """What is stored as attributes."""
        kept = (d for d in declared(type(self)) if d.quantity.dims is None and not d.quantity.told_by)
        found = {d.name: getattr(self, d.field.name) for d in kept}
        return {name: _attribute(v) for name, v in found.items() if v is not None and not isinstance(v, Record)}

    def _more(self) -> dict[str, Variable]:
        """What data sets hold beside the fields."""
        return {}


@cache
def declared(cls: type[Record]) -> tuple[Declared, ...]:
    """The fields of a record that say what they are."""
    hints = get_type_hints(cls)
    known = (f for f in fields(cls) if "quantity" in f.metadata)
    return tuple(Declared(f, f.metadata["quantity"], hints[f.name]) for f in known)


def dataset(variables: Mapping[str, Variable], attributes: Mapping[str, Any]) -> xr.Dataset:
    """Variables as a data set that netCDF can store."""
    import xarray as xr

    data = {
        name: (what.dims, values, {"long_name": what.meaning, "units": what.unit})
        for name, (values, what) in variables.items()
    }
    labels = [name for name, (_, what) in variables.items() if what.coordinate]
    return xr.Dataset(data, attrs=dict(attributes)).set_coords(labels)


def counted(number: int, noun: str) -> str:
    """A number with its noun in the singular or the plural.

    Example:
        >>> counted(1, "region"), counted(1200, "region")
        ('1 region', '1,200 regions')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal all the way down, with NaN equal to NaN.

    Example:
        >>> same((1, np.array([0.5, np.nan])), (1, np.array([0.5, np.nan])))
        True
    """
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return a == b or (a != a and b != b)
    if is_dataclass(a):
        return all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.compare)
    return bool(a == b)


def plain(value: Any) -> Any:
    """Dataclasses, arrays and numpy numbers as dictionaries, lists and numbers; NaN and infinity as None.

    Example:
        >>> plain({"a": np.array([1.0, np.nan]), "b": (np.int64(2),)})
        {'a': [1.0, None], 'b': [2]}
    """
    if isinstance(value, Record):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _word(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 116, initial_indent=" " * 8, subsequent_indent=" " * 12)


def _told(quantity: Quantity) -> str:
    dims = f"; shape ``({', '.join(quantity.dims)})``" if quantity.dims else ""
    unit = f"; in {quantity.unit}" if quantity.unit != "1" else ""
    return f"{quantity.meaning}{dims}{unit}."


def _record(hint: Any) -> type[Record] | None:
    """The kind of record that a field lists, if it lists records."""
    element = _element(hint)
    return element if isinstance(element, type) and issubclass(element, Record) else None


def _element(hint: Any) -> Any:
    """What a field lists; its own type where it lists nothing, ``None`` for arrays."""
    origin = get_origin(hint)
    return get_args(hint)[0] if origin is tuple else None if origin is np.ndarray else hint


def _array(values: Any, hint: Any = None) -> NDArray[Any]:
    """Values as netCDF stores them: text as objects, lists as JSON, and a number that is not known as -1."""
    if hint is None:
        return np.asarray(values)
    if hint in DTYPES:
        return np.asarray(values, DTYPES[hint])
    if hint == int | None:
        return np.array(-1 if values is None else values, np.int64)
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return np.array(texts, object) if texts else np.array([], "U1")


def _tells(name: str, value: Any) -> bool:
    """Whether a number or word says something in a list of them."""
    shown = isinstance(value, bool | int | float | str) or (isinstance(value, tuple) and 0 < len(value) <= 12)
    return shown and name != "provenance" and not name.startswith("_")


def _shortly(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shortly, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _attribute(value: Any) -> Any:
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, tuple) and value and all(isinstance(v, int | float) for v in value):
        return list(value)
    return json.dumps(value, default=_plain)


def _parsed(hint: Any, stored: Any) -> Any:
    """A value of a type, as `_array` or `_attribute` stored it."""
    arguments = get_args(hint)
    if get_origin(hint) is np.ndarray:
        return np.asarray(stored, get_args(arguments[1])[0])
    if type(None) in arguments:
        return None if stored is None or (arguments[0] is int and stored == -1) else _parsed(arguments[0], stored)
    if get_origin(hint) is tuple:
        listed = json.loads(stored) if isinstance(stored, str) else np.atleast_1d(stored).tolist()
        return tuple(_parsed(arguments[0], value) for value in listed)
    if get_origin(hint) is dict:
        return json.loads(str(stored))
    if stored is None:
        raise KeyError("a field is missing")
    return Standing.read(str(stored)) if hint is Standing else hint(stored)


def _plain(value: Any) -> Any:
    """What JSON has no form for: numpy numbers and arrays become numbers, anything else text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
