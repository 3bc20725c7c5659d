"""What every compiled pass must be so that the next process finds it in the cache."""

from __future__ import annotations

import gc
import importlib
import pkgutil

from numba.core.dispatcher import Dispatcher

import netfold


def test_no_pass_closes_over_a_variable() -> None:
    """Numba's cache tells closures apart by their pickled cells; a compiled function pickles anew in every process."""
    for module in pkgutil.walk_packages(netfold.__path__, "netfold."):
        if module.name.startswith(("netfold.exact", "netfold.sampled", "netfold.measures", "netfold.sensitivity")):
            importlib.import_module(module.name)
    compiled = [o.py_func for o in gc.get_objects() if issubclass(type(o), Dispatcher)]
    ours = [function for function in compiled if function.__module__.startswith("netfold.")]
    assert len(ours) > 200
    assert [function.__qualname__ for function in ours if function.__closure__ is not None] == []
