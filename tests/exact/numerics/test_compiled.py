"""What every compiled pass must be so that the next process finds it in the cache."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from numpy.testing import assert_array_equal

import netfold
from netfold.exact.numerics import caches
from netfold.exact.numerics.compiled import FAST, compiled, order


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
    assert reordered(3.0) == (3.0 + 0.1) - 3.0 != 0.1


@compiled()
def written(x):
    """Sums that reordering changes."""
    return (x + 0.1) - x


@compiled(FAST)
def reordered(x):
    """A pass that may reorder its own."""
    return written(x)


@pytest.mark.filterwarnings("error")
def test_a_numba_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its insides are left alone: passes are compiled as functions of any user."""
    monkeypatch.setattr(caches, "KNOWN", False)
    made = compiled(FAST, lean=True)(_half)
    assert made(3.0) == 1.5
    assert not hasattr(made, "inner")


def _half(x):
    return x / 2.0


def test_order_is_stable() -> None:
    """As numpy's stable sort, for runs of every length and many ties."""
    rng = np.random.default_rng(0)
    for size in [*range(60), 1000]:
        values = rng.integers(0, 12, size).astype(np.float64)
        assert_array_equal(order(values), np.argsort(values, kind="stable"))
