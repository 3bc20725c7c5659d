"""Files that could run code when opened, told apart before anything is opened.

A ``.pt2`` file is a zip archive, and ``torch.export.load`` trusts it: it unpickles sample inputs, tensors and
objects (also where its own safe unpickler has refused them), loads compiled libraries, evaluates size
expressions and guards as Python, and looks up operations by name anywhere in ``torch``. Here an archive must
first be shown to hold nothing but plain tensors, operations on tensors and arithmetic on sizes.
"""

from __future__ import annotations

import ast
import io
import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch

from netfold.errors import CorruptFileError, UntrustedFileError

PICKLES = {".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".dill"}
"""Suffixes that usually mean a pickle."""

SAFE_WAYS = (
    "save the model with torch.export.save(torch.export.export(model.eval(), (x,)), 'model.pt2'), or its "
    "weights with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors') to give them with "
    "'module:factory'; save data with numpy.savez('data.npz', x=x, y=y)"
)


def refuse_pickle(path: Path) -> None:
    """Refuse a file that is a pickle by its suffix, or by its content under whatever suffix.

    Raises:
        UntrustedFileError: it is one.
        CorruptFileError: it is a damaged zip archive.
    """
    if path.suffix.lower() in PICKLES or _holds_pickle(path):
        raise UntrustedFileError(
            f"{path} is a pickle: opening it could run any code, so netfold does not open it; {SAFE_WAYS}"
        )


def _holds_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and 2 <= ord(head[1:2] or b"\0") <= pickle.HIGHEST_PROTOCOL:
        return True
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.split("/")[-1] == "data.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise CorruptFileError(f"{path} is damaged: {error}") from error


def checked_pt2(path: Path) -> io.BytesIO:
    """The content of a ``.pt2`` file that holds nothing which could run code.

    Raises:
        UntrustedFileError: it holds a pickle of more than plain tensors, compiled code, an operation on
            something else than tensors, or an expression that is not arithmetic.
        CorruptFileError: it is no such file, or damaged.
    """
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                _check_member(name, archive.read(name))
    except _Unsafe as error:
        raise UntrustedFileError(
            f"{path} {error}: opening it could run code, so netfold does not; {SAFE_WAYS}"
        ) from None
    except (zipfile.BadZipFile, ValueError, SyntaxError, RuntimeError, EOFError) as error:
        raise CorruptFileError(f"{path} is not a .pt2 file of torch.export.save, or is damaged: {error}") from error
    return io.BytesIO(content)


class _Unsafe(Exception):
    """What an archive holds that could run code."""


def _refuse(what: str) -> NoReturn:
    raise _Unsafe(what)


def _check_member(name: str, content: bytes) -> None:
    base = name.split("/")[-1]
    if "aotinductor" in name or base.endswith((".so", ".o", ".cpp", ".cubin", ".dll", ".dylib")):
        _refuse(f"holds compiled code ('{name}')")
    if base.startswith(("custom_obj_", "opaque_obj_")):
        _refuse(f"holds a pickled object ('{name}')")
    if base.endswith(".pt") and content:
        try:
            torch.load(io.BytesIO(content), weights_only=True)
        except pickle.UnpicklingError:
            _refuse(f"holds a pickle of more than plain tensors ('{name}')")
    if base.endswith(".json"):
        _check_tree(json.loads(content), "")


def _check_tree(tree: Any, key: str) -> None:
    """Check every text of a JSON tree by the key it stands under."""
    if isinstance(tree, dict):
        for inner, value in tree.items():
            _check_text(inner, "")
            if inner != "metadata":  # where the graph came from: shown in messages, never evaluated
                _check_tree(value, inner)
    elif isinstance(tree, list):
        for value in tree:
            _check_tree(value, key)
    elif isinstance(tree, str):
        _check_text(tree, key)
    elif key == "use_pickle" and tree:
        _refuse("holds a pickled tensor")


def _check_text(text: str, key: str) -> None:
    if key in ("expr_str", "guards_code"):
        _check_expression(ast.parse(text, mode="eval").body, text)
    elif key in ("in_spec", "out_spec"):
        _check_containers(json.loads(text))
    elif key in ("target", "as_operator") and "." in text:
        if not OPERATION.fullmatch(text) or text.startswith("torch.ops.aten.from_file"):
            _refuse(f"calls '{text}', which is no operation on tensors")
    elif key in ("name", "as_name", "forward_arg_names"):
        if text and not text.isidentifier():
            _refuse(f"names a value {text!r}")
    elif key not in ("as_string", "as_strings") and not PLAIN.fullmatch(text):
        _refuse(f"holds the text {text!r}")


OPERATION = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond|while_loop)"
    r"|torch\.sym_(int|float|max|min|not|sum|ite|sqrt)"
    r"|math\.(ceil|floor|trunc)"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
)

PLAIN = re.compile(r"[\w.,:@+\->\[\]/]*")
"""Names and numbers; no text of this form can be code when it is put into a program."""

CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}

ARITHMETIC = (
    *(
        ast.Compare,
        ast.BoolOp,
        ast.BinOp,
        ast.UnaryOp,
        ast.Call,
        ast.Subscript,
        ast.Attribute,
        ast.Name,
        ast.Constant,
    ),
    *(ast.keyword, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)

FUNCTIONS = {
    *("Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "And", "Or", "Not"),
    *("Equality", "Unequality", "LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan"),
    *("Eq", "Ne", "Le", "Lt", "Ge", "Gt", "true", "false", "oo", "int_oo", "inf", "L", "max", "min"),
    *("FloorDiv", "CeilDiv", "CleanDiv", "PythonMod", "ModularIndexing", "Where", "LShift", "RShift"),
    *("PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "FloorToInt", "CeilToInt", "TruncToInt"),
    *("TruncToFloat", "ToFloat", "IsNonOverlappingAndDenseIndicator"),
}

ATTRIBUTES = {"size", "stride", "storage_offset", "numel", "dim", "ndim", "shape"}


def _check_expression(tree: ast.AST, text: str) -> None:
    """Arithmetic on sizes: nothing but known functions of symbols, numbers and the sizes of inputs."""
    for node in ast.walk(tree):
        known = isinstance(node, ARITHMETIC)
        if isinstance(node, ast.Name):
            known = node.id in FUNCTIONS or re.fullmatch(r"z?[su][a-z]?\d+", node.id) is not None
        elif isinstance(node, ast.Attribute):
            known = node.attr in ATTRIBUTES
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            known = re.fullmatch(r"\w+|[-+]?[\d.e+-]+", node.value) is not None
        if not known:
            _refuse(f"evaluates {text!r}, which is not arithmetic")


def _check_containers(tree: Any) -> None:
    """The structure of inputs and outputs: plain containers, as others are looked up in modules they name."""
    if isinstance(tree, list):
        for value in tree:
            _check_containers(value)
    elif isinstance(tree, dict):
        if tree.get("type") not in CONTAINERS:
            _refuse(f"takes or returns a {tree.get('type')}")
        context = json.loads(tree.get("context") or "null")
        if isinstance(context, dict) or not all(isinstance(k, str | int) for k in context or []):
            _refuse(f"takes or returns a container of {context!r}")
        _check_tree(context, "name")
        _check_containers(tree.get("children_spec", []))
