"""What every compiled pass must be so that the next process finds it in the cache."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from typing import Any

import pytest
from numba import njit
from numba.core.dispatcher import Dispatcher

import netfold
from netfold.exact.numerics.compiled import COMPILED, FAST


@pytest.fixture(scope="module")
def ours() -> list[Any]:
    """All passes of netfold."""
    for module in pkgutil.walk_packages(netfold.__path__, "netfold."):
        if module.name.startswith(("netfold.exact", "netfold.sampled", "netfold.measures", "netfold.sensitivity")):
            importlib.import_module(module.name)
    compiled = [o for o in gc.get_objects() if issubclass(type(o), Dispatcher)]
    ours = [one for one in compiled if one.py_func.__module__.startswith("netfold.")]
    assert len(ours) > 200
    return ours


def test_no_pass_closes_over_a_variable(ours: list[Any]) -> None:
    """Numba's cache tells closures apart by their pickled cells; a compiled function pickles anew in every process."""
    assert [one.py_func.__qualname__ for one in ours if one.py_func.__closure__ is not None] == []


def test_every_pass_says_how_it_rounds(ours: list[Any]) -> None:
    """Else a pass may reorder its sums if the first that calls it may, so numbers follow the order of compilation."""
    silent = {one.py_func.__qualname__ for one in ours if not {"fastmath", "error_model"} <= one.targetoptions.keys()}
    assert silent == set()


def test_a_pass_keeps_its_own_rounding() -> None:
    """What is said of a pass holds in one that may reorder: its sums stay as they are written."""
    strict = njit(**{**COMPILED, "cache": False})(lambda x: (x + 0.1) - x)
    loose = njit(**{**FAST, "cache": False})(lambda x: strict(x))
    assert loose(3.0) == (3.0 + 0.1) - 3.0 != 0.1
