"""What the JSON of an exported program may say: the whole of it, as rules that copy what they know.

``torch`` looks operations up by name, evaluates expressions of sizes, and writes the names of values into Python source
that it executes. A rule takes a piece of the tree, checks it, and returns a copy; what no rule knows is an error. So
the copy holds nothing that was not foreseen, and it alone is handed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from netfold.capture.allowed import is_allowed
from netfold.capture.sizes import LARGEST_POWER, read_expression


class Unexpected(Exception):
    """A piece of a tree that no rule knows."""


Place = tuple[str, ...]
"""The keys from the root of a tree to a piece of it."""

Rule = Callable[[Any, Place], Any]


def _refuse(where: Place, came: Any, expected: str) -> Unexpected:
    text = repr(came)
    place = ".".join(where) or "the text"
    return Unexpected(f"{place} is {text if len(text) <= 80 else text[:77] + '...'}, expected {expected}")


def record(**rules: Rule) -> Rule:
    """An object with these entries, of which some may be missing."""

    def read(tree: Any, where: Place) -> dict[str, Any]:
        return {name: rules[name](entry, (*where, name)) for name, entry in _entries(tree, where, rules)}

    return read


def whole_record(**rules: Rule) -> Rule:
    """An object with all of these entries."""
    partial = record(**rules)

    def read(tree: Any, where: Place) -> dict[str, Any]:
        found = partial(tree, where)
        missing = next((name for name in rules if name not in found), None)
        if missing is not None:
            raise _refuse(where, tree, f"an object with '{missing}'")
        return found

    return read


def either(**rules: Rule) -> Rule:
    """An object with one of these entries."""

    def read(tree: Any, where: Place) -> dict[str, Any]:
        found = _entries(tree, where, rules)
        if len(found) != 1:
            raise _refuse(where, tree, f"one of {', '.join(rules)}")
        ((name, entry),) = found
        return {name: rules[name](entry, (*where, name))}

    return read


def _entries(tree: Any, where: Place, rules: dict[str, Rule]) -> list[tuple[str, Any]]:
    if not isinstance(tree, dict):
        raise _refuse(where, tree, f"an object of {', '.join(rules)}")
    unknown = next((name for name in tree if name not in rules), None)
    if unknown is not None:
        raise _refuse((*where, unknown), tree[unknown], f"none but {', '.join(rules)} here")
    return list(tree.items())


def listed(rule: Rule, most: int = 2**24) -> Rule:
    """A list of such entries."""

    def read(tree: Any, where: Place) -> list[Any]:
        if not isinstance(tree, list) or len(tree) > most:
            raise _refuse(where, tree, f"a list of at most {most:,} entries")
        return [rule(entry, (*where, str(i))) for i, entry in enumerate(tree)]

    return read


def named(key: Rule, rule: Rule) -> Rule:
    """An object whose keys are names that a rule knows."""

    def read(tree: Any, where: Place) -> dict[str, Any]:
        if not isinstance(tree, dict):
            raise _refuse(where, tree, "an object")
        return {key(name, where): rule(entry, (*where, name)) for name, entry in tree.items()}

    return read


def optional(rule: Rule) -> Rule:
    """What a rule knows, or nothing."""
    return lambda tree, where: None if tree is None else rule(tree, where)


def of(kind: type, expected: str, known: Callable[[Any], bool] = lambda _: True) -> Rule:
    """A number, text or truth value."""

    def read(tree: Any, where: Place) -> Any:
        if type(tree) is not kind or not known(tree):
            raise _refuse(where, tree, expected)
        return tree

    return read


def text(expected: str, form: str) -> Rule:
    """A text of a form."""
    return of(str, expected, lambda value: re.fullmatch(form, value) is not None)


def left_out(instead: Any) -> Rule:
    """What is not needed: never looked at, and never handed on."""
    return lambda _tree, _where: instead


def number(tree: Any, where: Place) -> Any:
    """A real number; those that JSON lacks are texts."""
    if type(tree) not in (int, float) and tree not in ("Infinity", "-Infinity", "NaN"):
        raise _refuse(where, tree, "a number")
    return tree


flag = of(bool, "true or false")
whole = of(int, "a whole number of 64 bits", lambda value: -(2**63) <= value < 2**63)
string = text("a short text without quotes and backslashes", r"[^'\"\\\n]{0,200}")
value_name = of(str, "the name of a value", lambda name: name.isidentifier() and not name.startswith("__"))
argument_name = of(str, "the name of an argument", lambda name: not name or name.isidentifier())
path = text("the path of a module or parameter", r"((?!__)[\w\-+@/:> \[\],]+(\.(?!__)[\w\-+@/:> \[\],]+)*)?")
symbol = text("the symbol of a size", r"(s|u|zf|zuf)\d{1,4}")


def operation(tree: Any, where: Place) -> str:
    """The name of an operation on tensors, or on sizes."""
    if not isinstance(tree, str) or not is_allowed(tree):
        raise _refuse(
            where,
            tree,
            "an operation on tensors that netfold takes from files (give your own model as 'module:factory')",
        )
    return tree


def expression(tree: Any, where: Place) -> str:
    """Arithmetic on sizes."""
    try:
        return read_expression(tree)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise _refuse(where, tree, "arithmetic on sizes") from None


def shown(tree: Any, where: Place) -> str:
    """A text that is shown to people and nothing else, without characters that terminals obey."""
    found = of(str, "a text")(tree, where)
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in found)


def metadata(tree: Any, where: Place) -> dict[str, str]:
    """Where a node comes from: its modules and source lines. All else is left out."""
    if not isinstance(tree, dict):
        raise _refuse(where, tree, "an object")
    return {name: shown(tree[name], (*where, name)) for name in ("nn_module_stack", "stack_trace") if name in tree}


def containers(tree: Any, where: Place) -> str:
    """The structure of inputs or outputs, a JSON text in itself: tuples, lists and dictionaries."""
    try:
        inner = json.loads(of(str, "a JSON text")(tree, where))
    except (ValueError, RecursionError):
        raise _refuse(where, tree, "a JSON text") from None
    if not isinstance(inner, list) or len(inner) != 2 or inner[0] != 1:
        raise _refuse(where, tree, "[1, ...]")
    return json.dumps([1, container(inner[1], where)])


def keys(tree: Any, where: Place) -> str | None:
    """The keys of a dictionary, a JSON text in itself."""
    try:
        inner = json.loads(tree) if isinstance(tree, str) else tree
    except (ValueError, RecursionError):
        raise _refuse(where, tree, "the keys of a dictionary") from None
    if isinstance(inner, list):
        inner = [entry if type(entry) is int else value_name(entry, where) for entry in inner]
    elif inner is not None:
        raise _refuse(where, tree, "the keys of a dictionary")
    return None if tree is None else json.dumps(inner)


CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")


def container_type(tree: Any, where: Place) -> str | None:
    """The type of a container; none is a leaf. ``torch`` would find others in modules that a name says."""
    if tree not in CONTAINERS:
        raise _refuse(where, tree, "a tuple, list or dictionary")
    return tree


def container(tree: Any, where: Place) -> Any:
    """A container with its parts, or a leaf."""
    return record(type=container_type, context=keys, children_spec=listed(container))(tree, where)


hint = optional(either(as_int=whole, as_bool=flag, as_float=number))
size = either(as_expr=record(expr_str=expression, hint=hint), as_int=whole)
real = either(as_expr=record(expr_str=expression, hint=hint), as_float=number)
truth = either(as_expr=record(expr_str=expression, hint=hint), as_bool=flag)
device_type = text("cpu, cuda, mps, xpu or meta", "cpu|cuda|mps|xpu|meta")
device = record(type=device_type, index=optional(whole))
tensor = record(name=value_name)
tensor_meta = record(
    dtype=whole,
    sizes=listed(size, 64),
    requires_grad=flag,
    device=device,
    strides=listed(size, 64),
    storage_offset=size,
    layout=whole,
)
sym_int = either(as_name=value_name, as_int=whole)
sym_float = either(as_name=value_name, as_float=number)
sym_bool = either(as_name=value_name, as_bool=flag)
maybe_tensor = either(as_tensor=tensor, as_none=flag)


def graph(tree: Any, where: Place) -> Any:
    """A graph; those of branches lie in the arguments of its nodes."""
    return _GRAPH(tree, where)


argument = either(
    as_none=flag,
    as_tensor=tensor,
    as_tensors=listed(tensor),
    as_int=whole,
    as_ints=listed(whole),
    as_float=number,
    as_floats=listed(number),
    as_string=string,
    as_strings=listed(string),
    as_sym_int=sym_int,
    as_sym_ints=listed(sym_int),
    as_scalar_type=whole,
    as_memory_format=whole,
    as_layout=whole,
    as_device=device,
    as_bool=flag,
    as_bools=listed(flag),
    as_sym_bool=sym_bool,
    as_sym_bools=listed(sym_bool),
    as_graph=record(name=value_name, graph=graph),
    as_optional_tensors=listed(maybe_tensor),
    as_sym_float=sym_float,
    as_sym_floats=listed(sym_float),
    as_optional_tensor=maybe_tensor,
    as_complex=record(real=number, imag=number),
    as_nested_tensors=listed(listed(tensor)),
    as_int_lists=listed(listed(whole)),
    as_float_lists=listed(listed(number)),
)
_NODE = record(
    target=operation,
    inputs=listed(record(name=argument_name, arg=argument, kind=optional(whole))),
    outputs=listed(argument),
    metadata=metadata,
    is_hop_single_tensor_return=optional(flag),
    name=optional(value_name),
)


def node(tree: Any, where: Place) -> Any:
    """A call of an operation; powers of sizes are small, as Python computes them to the last digit."""
    found = _NODE(tree, where)
    if found.get("target") == "_operator.pow":
        arguments = [entry.get("arg", {}) for entry in found.get("inputs", [])]
        given = next(iter(arguments[1].values()), None) if len(arguments) == 2 else None
        if not isinstance(given, int | float) or not abs(given) <= LARGEST_POWER:
            raise _refuse(where, arguments, f"a power of at most {LARGEST_POWER}")
    return found


nothing = of(dict, "no object of a class of its own", lambda found: not found)
_GRAPH = record(
    inputs=listed(argument),
    outputs=listed(argument),
    nodes=listed(node),
    tensor_values=named(value_name, tensor_meta),
    sym_int_values=named(value_name, size),
    sym_bool_values=named(value_name, truth),
    sym_float_values=named(value_name, real),
    is_single_tensor_return=flag,
    custom_obj_values=nothing,
)
constant = either(as_none=flag, as_int=whole, as_float=number, as_string=string, as_bool=flag)
input_spec = either(
    user_input=record(arg=argument),
    parameter=record(arg=tensor, parameter_name=path),
    buffer=record(arg=tensor, buffer_name=path, persistent=flag),
    tensor_constant=record(arg=tensor, tensor_constant_name=path),
    constant_input=record(name=argument_name, value=constant),
)
output_spec = either(
    user_output=record(arg=argument),
    buffer_mutation=record(arg=tensor, buffer_name=path),
    parameter_mutation=record(arg=tensor, parameter_name=path),
    user_input_mutation=record(arg=tensor, user_input_name=value_name),
)
call = record(
    inputs=listed(argument),
    outputs=listed(argument),
    in_spec=containers,
    out_spec=containers,
    forward_arg_names=optional(listed(value_name)),
)

PROGRAM = record(
    graph_module=record(
        graph=graph,
        signature=record(input_specs=listed(input_spec), output_specs=listed(output_spec)),
        module_call_graph=listed(record(fqn=path, signature=optional(call))),
        metadata=left_out({}),
        treespec_namedtuple_fields=left_out({}),
    ),
    opset_version=left_out({}),
    range_constraints=named(symbol, record(min_val=optional(whole), max_val=optional(whole))),
    schema_version=record(major=whole, minor=whole),
    verifiers=listed(text("TRAINING or ATEN", "TRAINING|ATEN")),
    torch_version=left_out(""),
    guards_code=left_out([]),
)
"""The text ``models/model.json``. Guards are code about the sample inputs, and stay unread with them."""

PAYLOADS = whole_record(
    config=named(
        path,
        whole_record(
            path_name=string,
            is_param=flag,
            use_pickle=of(bool, "false (a pickled tensor could run code)", lambda pickled: not pickled),
            tensor_meta=whole_record(
                dtype=whole,
                sizes=listed(either(as_int=whole), 64),
                requires_grad=flag,
                device=whole_record(type=device_type, index=optional(whole)),
                strides=listed(either(as_int=whole), 64),
                storage_offset=either(as_int=whole),
                layout=of(int, "7 (a dense tensor)", lambda layout: layout == 7),
            ),
        ),
    )
)
"""The text that says in which member every weight lies."""
