"""Laws of estimates: exact where all is walked, right on average, intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

import netfold as nf
from netfold.exact.cells.counting.estimate import TRIED, _Tree, estimate_tree
from netfold.measures.cell_counts import CellJob
from netfold.measures.estimates import GROUPS, interval
from tests.exact.cells import networks


def engine(name: str):
    layers = networks.case(name)
    return CellJob(nf.capture(networks.module(layers), shape=(layers[0].weights.shape[1],)), None).engine


@pytest.mark.parametrize("name", ["T1", "T3", "D1", "D2", "D4"])
def test_all_of_a_small_tree_is_counted_exactly(name):
    found = nf.estimate_regions(networks.module(networks.case(name)))
    assert (found.exact, found.value, found.low, found.high) == (True, *[networks.COUNTS[name]] * 3)
    assert found.status == "exact"
    assert found.at_least == networks.COUNTS[name]


def test_a_count_that_ends_soon_is_not_given_up():
    """Where little is left of the tree after the first try, it is counted to its end, not sampled from its root."""
    tree = engine("R6")
    assert _Tree(tree, np.random.default_rng(0)).counted(20000)[1]
    found = estimate_tree(tree, 40000, GROUPS, np.random.default_rng(0))
    assert found.exact
    assert found.work.decisions > TRIED * 40000
    assert found.met == networks.COUNTS["R6"]


def test_what_was_counted_is_certain_and_only_the_rest_is_sampled():
    """The regions that the count reached are a part of the lower bound and of every group."""
    tree = engine("R6")
    counted, rest = _Tree(tree, np.random.default_rng(0)).counted(4000)
    found = estimate_tree(tree, 4000, GROUPS, np.random.default_rng(0))
    assert rest
    assert counted < found.met <= networks.COUNTS["R6"]
    assert (found.groups > counted / GROUPS).all()


@pytest.mark.parametrize(("name", "effort"), [("M1", 150), ("R8", 600)])
def test_estimates_are_right_on_average_and_their_intervals_hold_the_truth(name, effort):
    truth, tree = networks.COUNTS[name], engine(name)
    found = [estimate_tree(tree, effort, GROUPS, np.random.default_rng(seed)) for seed in range(40)]
    assert not any(f.exact for f in found)
    values = np.array([f.value for f in found])
    assert abs(values.mean() - truth) < 4 * values.std(ddof=1) / np.sqrt(len(values))
    held = [low <= truth <= high for low, high in (interval(f, 0.95) for f in found)]
    assert sum(held) >= 33
    assert all(f.met <= truth for f in found)


def test_more_effort_narrows_the_interval():
    model = networks.module(networks.case("R3"))
    few, many = (nf.estimate_regions(model, effort=effort, seed=1) for effort in (1500, 15000))
    assert many.standard_error < few.standard_error
    assert few.decisions < 4.5 * 1500  # of which three times the effort goes into a count
    assert many.decisions < 4.5 * 15000


def test_the_same_seed_gives_the_same_estimate():
    model = networks.module(networks.case("M1"))
    a, b, c = (nf.estimate_regions(model, effort=150, seed=seed) for seed in (3, 3, 4))
    assert (a == b, a.value == c.value) == (True, False)
    assert a.to_dataframe()["value"].tolist() == [a.value]


def test_effort_grows_until_the_relative_error_is_reached():
    model = networks.module(networks.case("R3"))
    found = nf.estimate_regions(model, relative_error=0.4)
    assert found.relative_error <= 0.4
    assert found.low <= networks.COUNTS["R3"] <= found.high
    given_up = nf.estimate_regions(model, relative_error=0.01, effort=1500)
    assert given_up.status.startswith("not converged")


@pytest.mark.parametrize("wrong", [{"relative_error": 0.0}, {"effort": 0}, {"effort": 1.5}, {"confidence": 1.0}])
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(nf.InvalidInputError, match=next(iter(wrong))):
        nf.estimate_regions(networks.module(networks.case("T1")), **wrong)
