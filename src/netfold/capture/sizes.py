"""Expressions of sizes in exported programs: a small grammar, as ``torch`` evaluates their text as Python."""

from __future__ import annotations

import ast
import re
from typing import Any

ARITHMETIC = {
    *("Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs", "And", "Or", "Not"),
    *("Equality", "Unequality", "LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan"),
    *("FloorDiv", "CeilDiv", "CleanDiv", "PythonMod", "ModularIndexing", "Where", "IntTrueDiv", "FloatTrueDiv"),
    *("PowByNatural", "FloatPow", "FloorToInt", "CeilToInt", "TruncToInt", "TruncToFloat", "ToFloat", "Identity"),
}
"""Functions of other expressions."""

LARGEST_POWER = 8
LONGEST = 10_000
"""Characters of an expression."""


def read_expression(text: Any) -> str:
    """An expression, written anew from what was understood of it.

    Raises:
        ValueError: it is something else than functions of symbols and numbers.
        SyntaxError: it is not even Python.

    Example:
        >>> read_expression("Mul(Integer(2), Symbol('s77', positive=True, integer=True))")
        "Mul(Integer(2), Symbol('s77', positive=True, integer=True))"
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise ValueError("no expression")
    return _written(ast.parse(text, mode="eval").body)


def _written(tree: ast.AST, powers: bool = True) -> str:
    if isinstance(tree, ast.Name) and tree.id in ("true", "false"):
        return tree.id
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        return str(_whole(tree))
    name, given = tree.func.id, tree.args
    if name == "Symbol":
        return _symbol(tree)
    if name == "Float":
        return _real(tree)
    if tree.keywords:
        raise ValueError("a function of named arguments")
    if name in ("Integer", "Rational"):
        return f"{name}({', '.join(str(_whole(entry)) for entry in given)})"
    if name not in ARITHMETIC:
        raise ValueError(f"the function {name}")
    raised = name in ("Pow", "PowByNatural", "FloatPow")
    if raised and not (powers and len(given) == 2 and _small(given[1])):
        raise ValueError("a large power")  # its value could fill the memory
    return f"{name}({', '.join(_written(entry, powers and not raised) for entry in given)})"


def _symbol(tree: ast.Call) -> str:
    (name,) = (entry.value for entry in tree.args if isinstance(entry, ast.Constant))
    if not isinstance(name, str) or not re.fullmatch(r"(s|u|zf|zuf)\d{1,4}", name) or len(tree.args) != 1:
        raise ValueError(f"the symbol {name!r}")
    known = {}
    for entry in tree.keywords:
        value = entry.value.value if isinstance(entry.value, ast.Constant) else None
        if not isinstance(value, bool) or not re.fullmatch("[a-z_]{1,30}", entry.arg or ""):
            raise ValueError(f"the property {entry.arg}")
        known[entry.arg] = value
    return f"Symbol({', '.join([repr(name), *(f'{what}={value}' for what, value in known.items())])})"


def _real(tree: ast.Call) -> str:
    text = ast.unparse(tree)
    if not re.fullmatch(r"Float\('-?[\d.]{1,40}(e[-+]?\d{1,3})?', precision=\d{2}\)", text):
        raise ValueError(f"the number {text}")
    return text


def _whole(tree: ast.AST) -> int:
    sign = -1 if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub) else 1
    inner = tree.operand if isinstance(tree, ast.UnaryOp) and sign < 0 else tree
    if not isinstance(inner, ast.Constant) or type(inner.value) is not int or inner.value >= 2**63:
        raise ValueError("no whole number of 64 bits")
    return sign * inner.value


def _small(tree: ast.AST) -> bool:
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name):
        return abs(_whole(tree)) <= LARGEST_POWER
    if tree.func.id == "Float":
        return abs(float(_real(tree).split("'")[1])) <= LARGEST_POWER
    return tree.func.id in ("Integer", "Rational") and all(abs(_whole(entry)) <= LARGEST_POWER for entry in tree.args)
