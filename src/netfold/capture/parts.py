"""A part of a model: what lies between two of its modules, arguments and fields of its output."""

from __future__ import annotations

import copy
import difflib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from netfold.arguments import checked, shown
from netfold.capture.reading import unwrapped
from netfold.capture.untouched import alone, untouched
from netfold.errors import CaptureError, InvalidInputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

STACKED = re.compile(r"(\w+(\.\w+)*)?(@\d+)?")
"""The path of a module in an exported program; ``torch`` writes it into Python source when it rebuilds the modules."""


class Reached(Exception):
    """The end of the part: what follows is not run."""


@overload
def part(model: nn.Module, input: str | None = ..., output: str | None = ..., *, example: Any = ...) -> nn.Module: ...
@overload
def part(
    model: ExportedProgram, input: str | None = ..., output: str | None = ..., *, example: Any = ...
) -> ExportedProgram: ...
@checked
def part(model: Any, input: str | None = None, output: str | None = None, *, example: Any = None) -> Any:
    """A part of a model, as a model that every verb takes: from ``input`` on, up to ``output``.

    A part is the function that gives ``output`` when the point takes the place of ``input``; everything else is as in
    a run of the whole model on ``example``. It shares the model's modules, so layers and parameters keep their names,
    and weights that are trained on are the model's. The model itself is left as it is.

    Args:
        model: a module in evaluation mode, or an exported program.
        input: an argument of ``forward`` (``"inputs_embeds"``), or the path of a module (``"encoder.layer.3"``): the
            point is then the first real tensor that this module takes, at its first call. By default the model's first
            argument.
        output: the path of a module: what it gives at its first call, of several tensors the first, or the one that is
            named after it (``"backbone.pool"``, ``"lstm.1.0"``); or a field of what the model returns (``"logits"``,
            ``"0"``). By default all that the model returns. A module goes before a field of the same name.
        example: with what the whole model runs: its first argument, or a mapping of arguments by name. Tensors have a
            batch axis, of which the first row is taken. Not needed where the point is an argument and there are no
            others, nor for a module that takes one tensor, alone (``output`` is ``input`` or lies in it) or in a
            `torch.nn.Sequential`; an exported program brings zeros of the shapes it was exported with.

    Returns:
        A module; of an exported program one of its kind.

    Raises:
        InvalidInputError: there is no such module, argument or field (those with a name like it are listed), or
            ``example`` is needed.
        CaptureError: an exported program cannot be cut there.

    Example:
        >>> import netfold as nf
        >>> net = nf.random_network(2, 3, 2, outputs=5)
        >>> part(net, output="act1")(torch.zeros(1, 2)).shape
        torch.Size([1, 3])
        >>> nf.capture(net, input="act1", shape=(3,)).input_shape
        (3,)
        >>> part(net, input="act3")
        Traceback (most recent call last):
        netfold.errors.InvalidInputError: Sequential has no module or argument 'act3'; did you mean 'act2' or 'act1'?
    """
    if isinstance(model, nn.Module):
        model = unwrapped(model)
        return _kind(type(model).__name__)(model, input, output, example)
    if not hasattr(model, "graph_signature"):
        raise InvalidInputError(
            "model: a part is taken of a torch.nn.Module or a torch.export.ExportedProgram, got "
            f"{shown(model)}; give the model that a Program came from"
        )
    return _of_exported(model, input, output, example)


class ModelPart(nn.Module):
    """A part of a module; see `part`.

    It has the module's own dictionaries of parameters, buffers and modules, and runs a copy that shares them too.
    """

    is_part_of_a_model = True
    """By this captures tell that the parameters are not all its own."""

    def __init__(
        self, model: nn.Module, entry: str | None, end: str | None, example: Any, names: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        shared = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "training")
        vars(self).update({name: vars(model)[name] for name in shared})
        # In a tuple, for it is no module of the part's.
        self._of = (model,)
        self.title = type(model).__name__ if not names else "the exported program"
        self._names = names or _arguments(model)
        paths = dict(model.named_modules())
        self._entry = entry if entry is not None else next(iter(self._names), "input")
        self._inner = self._entry if entry in paths and entry else None
        if self._inner is None and entry is not None and entry not in self._names:
            raise _unknown(self.title, "module or argument", entry, [*self._names, *paths])
        self._end, self._field = _split(end, paths)
        self.example = _example(model, example, self._names)
        """What the whole model runs on, by argument."""
        self._start = self._direct() if self.example is None else None
        if self._inner is not None and self._start is None and self.example is None:
            own = getattr(model, "dummy_inputs", None)  # models of Hugging Face bring some
            self.example = {k: v for k, v in own.items() if k in self._names} if isinstance(own, Mapping) else None
        if self._inner is not None and self._start is None and self.example is None:
            raise InvalidInputError(
                f"{self.title}: '{entry}' lies within it, so the rest must run on something: give "
                "example=, an input of the whole model with its batch axis, or its arguments by name in a "
                "mapping; on the command line --example FILE"
            )

    def modules(self, remove_duplicate: bool = True) -> Iterator[nn.Module]:
        """All modules, the whole model too: what it keeps of a run is put back."""
        yield from super().modules(remove_duplicate)
        yield self._of[0]

    def forward(self, points: Tensor) -> Any:
        """What the part gives for points, one a row."""
        return self._run(points)

    def entry(self, inputs: Any = None) -> Tensor:
        """What enters the part when the whole model runs on such inputs; by default on the example.

        Args:
            inputs: as ``example`` in `part`, with as many rows as there are points.

        Returns:
            Points of the part, one a row.
        """
        model = self._of[0]
        given = self.example if inputs is None else _example(model, inputs, self._names)
        if given is None:
            raise InvalidInputError(f"{self.title}: give inputs of the whole model, or example= to the part")
        if self._inner is None:
            return given[self._entry]
        seen: list[Tensor] = []

        def see(_: nn.Module, args: Any, kwargs: Any) -> None:
            seen.append(args[place] if isinstance(place := _place(args, kwargs), int) else kwargs[place])
            raise Reached

        with (
            alone(),
            untouched(model),
            self._model().get_submodule(self._inner).register_forward_pre_hook(see, with_kwargs=True),
        ):
            _until_reached(lambda: self._call(given))
        return seen[0].clone() if seen else self._refuse_unreached(self._inner)

    @property
    def first(self) -> nn.Module:
        """The module that takes the points, where that is known."""
        return self._of[0] if self._start is None else self._start[0]

    def _direct(self) -> tuple[nn.Module] | None:
        """What can be run by itself from the input on: a module that the end lies in, or the rest of a chain."""
        model, inner = self._of[0], self._inner
        if inner is None:
            return None
        if self._end is not None and f"{self._end}.".startswith(f"{inner}."):
            return (self.get_submodule(inner),)
        plain = isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward
        if plain and inner in model._modules and not model._forward_hooks:
            return (model[list(model._modules).index(inner) :],)  # type: ignore[index]
        return None

    def _model(self) -> nn.Module:
        """A copy of the whole model that shares all its parts: attributes that its forward sets are the copy's."""
        model = copy.copy(self._of[0])
        model.training = self.training
        return model

    def _call(self, given: Mapping[str, Any]) -> Any:
        return self._model()(**given)

    def _run(self, points: Tensor) -> Any:
        entered, found = [], []

        def put(_: nn.Module, args: Any, kwargs: Any) -> Any:
            entered.append(True)
            if len(entered) > 1:
                return None
            place = _place(args, kwargs)
            if isinstance(place, int):
                return (*args[:place], points, *args[place + 1 :]), kwargs
            return args, {**kwargs, place: points}

        def take(_: nn.Module, __: Any, result: Any) -> None:
            found.append(result)
            raise Reached

        with ExitStack() as hooks:
            if self._inner is not None and self._start is None:
                module = self.get_submodule(self._inner)
                hooks.enter_context(module.register_forward_pre_hook(put, with_kwargs=True))
            if self._end is not None:
                hooks.enter_context(self.get_submodule(self._end).register_forward_hook(take, prepend=False))
            result = _until_reached(lambda: self._whole(points))
        if self._inner is not None and self._start is None and not entered:
            self._refuse_unreached(self._inner)
        if self._end is not None:
            if not found:
                self._refuse_unreached(self._end)
            result = found[0]
        return result if self._end is None and not self._field else _first(self._fields(result), self.title)

    def _whole(self, points: Tensor) -> Any:
        if self._start is not None:
            return self.first(points)
        rows = points.shape[0]

        def spread(leaf: Any) -> Any:
            return leaf[:1].to(points.device).expand(rows, *leaf.shape[1:]) if isinstance(leaf, Tensor) else leaf

        given = pytree.tree_map(spread, self.example or {})
        return self._call(given if self._inner is not None else {**given, self._entry: points})

    def _fields(self, result: Any) -> Any:
        """The field that the end names of what a module, or the whole model, gives."""
        at = self._end or ""
        for step in self._field.split(".") if self._field else []:
            entries, before = _entries(result), f"{at}." if at else ""
            at = f"{before}{step}"
            if step not in entries:
                paths = [path for path, _ in self._of[0].named_modules()]
                name = f"{self._end}.{self._field}" if self._end else self._field
                raise _unknown(self.title, "module or field", name, [*(f"{before}{e}" for e in entries), *paths])
            result = entries[step]
        return result

    def _refuse_unreached(self, name: str) -> Any:
        before = f" before '{self._end}' is reached" if self._end not in (None, name) else ""
        raise InvalidInputError(
            f"{self.title}: '{name}' is not called{before} in its forward; name a module that its input comes "
            "through, or one that lies further on as output"
        )


class ExportedPart(ModelPart):
    """A part of an exported program, whose modules were rebuilt; ``spec`` is how it takes its arguments."""

    spec: Any

    def _call(self, given: Mapping[str, Any]) -> Any:
        args, kwargs = pytree.tree_unflatten([given[name] for name in self._names], self.spec)
        return self._model()(*args, **kwargs)


@cache
def _kind(name: str) -> type[ModelPart]:
    """Parts go by the name of the model's class."""
    return type(name, (ModelPart,), {"__doc__": ModelPart.__doc__, "__module__": __name__})


def _of_exported(exported: ExportedProgram, entry: str | None, end: str | None, example: Any) -> ExportedProgram:
    from torch.export import Dim, export, unflatten

    from netfold.capture.export import functional

    kinds: dict[str, Any] = {}
    for node in exported.graph.nodes:
        for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
            kinds[path] = kind
            if not STACKED.fullmatch(path) or not re.fullmatch(r"[\w@.]*", key):
                raise CaptureError(f"the exported program names a module {path!r}, so it is not cut into parts")
    names = tuple(map(str, exported.graph_signature.user_inputs))
    values = {n.name: n.meta["val"] for n in exported.graph.nodes if n.op == "placeholder" and n.name in names}
    sizes = {
        name: [int(s) if not isinstance(s, torch.SymInt) else s.node.hint or 3 for s in value.shape]
        for name, value in values.items()
    }
    free = any(isinstance(value.shape[0], torch.SymInt) for value in values.values())
    zeros = {name: torch.zeros(sizes[name], dtype=value.dtype) for name, value in values.items()}
    rows = 3 if free else sizes[names[0]][0]
    with alone():
        model = unflatten(functional(exported))
        whole = ExportedPart(model, entry, end, zeros if example is None else example, names)
        whole.spec = exported.call_spec.in_spec
        points = whole.entry()[:1]
        points = torch.zeros((rows, *points.shape[1:]), dtype=points.dtype)
        with untouched(whole):
            found = export(whole, (points,), dynamic_shapes=({0: Dim.DYNAMIC},) if free else None, strict=False)
    for node in found.graph.nodes:
        stack = node.meta.get("nn_module_stack") or {}
        node.meta["nn_module_stack"] = {key: (path, kinds.get(path, kind)) for key, (path, kind) in stack.items()}
    return found


def _arguments(model: nn.Module) -> tuple[str, ...]:
    """The arguments of a forward that have names."""
    found = inspect.signature(model.forward).parameters.values()
    return tuple(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))


def _example(model: nn.Module, example: Any, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Arguments of the whole model by name."""
    if example is None:
        return None
    if not isinstance(example, Mapping):
        if not names:
            raise InvalidInputError(f"the forward of {type(model).__name__} names no arguments: wrap it in a module")
        example = {names[0]: torch.as_tensor(example)}
    for name in example:
        if name not in names:
            raise _unknown(type(model).__name__, "argument", str(name), names)
    return dict(example)


def _split(end: str | None, paths: Mapping[str, Any]) -> tuple[str | None, str]:
    """The module at the end, and the field of what it gives; ``None`` and the field of the model's own output."""
    steps = end.split(".") if end else []
    for n in range(len(steps), 0, -1):
        if (path := ".".join(steps[:n])) in paths:
            return path, ".".join(steps[n:])
    return None, end or ""


def _place(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | str:
    """Where the first real tensor stands among a module's arguments."""
    for place, value in [*enumerate(args), *kwargs.items()]:
        if isinstance(value, Tensor) and value.is_floating_point():
            return place
    raise InvalidInputError("the module at the input takes no tensor of real numbers; name one further on")


def _entries(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return {str(key): value for key, value in result.items()}
    if isinstance(result, tuple | list):
        return {**{str(i): value for i, value in enumerate(result)}, **getattr(result, "_asdict", dict)()}
    if isinstance(result, Tensor) or not hasattr(result, "__dict__"):
        return {}
    return {key: value for key, value in vars(result).items() if not key.startswith("_")}


def _first(result: Any, name: str) -> Tensor:
    """The tensor that a module gives, of a tuple the first."""
    while isinstance(result, tuple | list) and result:
        result = result[0]
    entries = {key: value for key, value in _entries(result).items() if isinstance(value, Tensor)}
    if isinstance(result, Tensor) or len(entries) == 1:
        return result if isinstance(result, Tensor) else next(iter(entries.values()))
    raise InvalidInputError(
        f"{name}: the output is a {type(result).__name__}{f' of {_listed(entries)}' if entries else ''}; name a "
        "tensor in it"
    )


def _unknown(where: str, kind: str, name: str, known: Iterable[str]) -> InvalidInputError:
    """One error for a name that is not there, with those like it."""
    known = [one for one in dict.fromkeys(known) if one]
    near = difflib.get_close_matches(name, known, 5, 0.5) or [k for k in known if k.endswith(f".{name}")][:5]
    told = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has: {_listed(known) or 'none'}"
    return InvalidInputError(f"{where} has no {kind} '{name}'; {told}")


def _listed(names: Iterable[str], most: int = 20) -> str:
    found = list(names)
    return ", ".join(found[:most]) + (f" and {len(found) - most} more" if len(found) > most else "")


def _until_reached(run: Any) -> Any:
    """Run until the end of the part is reached."""
    with _modules_as_before():
        try:
            return run()
        except Reached:
            return None


@contextmanager
def _modules_as_before() -> Iterator[None]:
    """``torch.export`` keeps the modules that it is in on a stack, and forgets none when a forward is left early."""
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    mode = proxies.get_proxy_mode() if proxies is not None else None
    stack = getattr(getattr(mode, "tracer", None), "module_stack", None)
    depth = len(stack or ())
    yield
    while stack is not None and len(stack) > depth:
        stack.popitem()
