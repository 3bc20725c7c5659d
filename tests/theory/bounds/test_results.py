"""Bounds as objects: numbers with words, tables, chains, plots, and messages."""

from __future__ import annotations

import copy
import json
import math
import pickle

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from netfold.errors import InvalidInputError
from netfold.theory import bounds
from netfold.theory.bounds import Conv, Kind

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_bound_is_an_int():
    """Arithmetic, comparison, hashing, formatting and JSON are those of its integer."""
    bound = bounds.serra2018_upper(2, [10, 10, 10])
    assert isinstance(bound, int)
    assert type(int(bound)) is int
    assert bound == 175616
    assert hash(bound) == hash(175616)
    assert bound // 2 == 87808
    assert f"{bound:,}" == "175,616"
    assert str(bound) == f"{bound}" == "175616"
    assert json.dumps({"bound": bound}) == '{"bound": 175616}'
    assert repr(bound).startswith("<175616: upper bound: no network of this shape has more; counts activation")


def test_a_bound_is_frozen_and_survives_copying():
    """Nothing can be changed; pickle and deepcopy keep value and words."""
    for bound in (bounds.zaslavsky(5, 2), bounds.hanin_rolnick2019(2, [5, 5])):
        with pytest.raises(AttributeError, match="frozen"):
            bound.kind = Kind.ORDER
        for twin in (pickle.loads(pickle.dumps(bound)), copy.deepcopy(bound)):
            assert twin == bound
            assert twin.statement == bound.statement
            assert twin.log10 == bound.log10


def test_astronomically_large_bounds_are_exact_and_readable():
    """Tens of thousands of digits: exact integer, right logarithm, short text."""
    bound = bounds.serra2018_upper(100, [2000] * 100)
    assert bound.bit_length() > 40_000
    assert bound.log10 == pytest.approx(bound.bit_length() * math.log10(2), abs=0.4)
    exponent = math.floor(bound.log10)
    assert int(bound) // 10 ** (exponent - 2) / 100 == pytest.approx(float(str(bound).split("e")[0]), abs=0.006)
    assert str(bound).endswith(f"e+{exponent}")
    assert len(repr(bound)) < 200
    assert bounds.zaslavsky(2, 3, "bounded").log10 == -math.inf


def test_expectations_beyond_floats_keep_their_logarithm():
    """784 inputs: the float overflows, log10 does not."""
    bound = bounds.hanin_rolnick2019(784, [1000] * 5)
    assert float(bound) == math.inf
    assert 2000 < bound.log10 < 5000
    assert "e+" in str(bound)


def test_table_rows_are_the_functions():
    """Each row is what the function of its name returns, exact in the frame."""
    table = bounds.table(2, [10, 10, 10])
    rows = {row.name: row.bound for row in table.rows}
    for name in (
        "raghu2017",
        "montufar2017",
        "serra2018_upper",
        "serra2018_lower",
        "montufar2014",
        "arora2018",
    ):
        assert rows[name] == getattr(bounds, name)(2, [10, 10, 10])
    assert rows["hinz2019 (naive)"] == 2**30
    frame = table.to_dataframe().set_index("bound")
    assert all(type(frame.value[name]) is int for name in rows if name != "hanin_rolnick2019")
    assert frame.loc["hanin_rolnick2019", "kind"] == Kind.EXPECTATION.value
    np.testing.assert_allclose(frame.log10, [bound.log10 for bound in rows.values()])
    assert table.upper == rows["serra2018_upper"]
    assert table.lower == rows["serra2018_lower"]


def test_table_says_why_a_theorem_does_not_apply():
    """Layers narrower than the input: no lower bound, and the reason instead."""
    table = bounds.table(5, [4, 4])
    frame = table.to_dataframe().set_index("bound")
    assert frame.value["montufar2014"] is None
    assert "as wide as the input" in frame.assumes["montufar2014"]
    assert "does not apply" in repr(table)
    assert bounds.table(5, [1, 4]).lower is None


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (
            {"activation": "hardtanh"},
            {"raghu2017", "montufar2017", "hinz2019 (naive)", "hinz2019 (binomial)"},
        ),
        ({"activation": "leaky_relu"}, {"raghu2017", "montufar2017", "hinz2019 (naive)"}),
        (
            {"rank": 3},
            {
                "serra2018_maxout",
                "montufar2022_maxout_upper",
                "montufar2022_maxout_lower",
                "montufar2014_maxout",
            },
        ),
    ],
)
def test_table_shows_only_what_applies(options, names):
    """Bounds that are proved for ReLU alone stay out of other tables."""
    assert {row.name for row in bounds.table(2, [4, 4], **options).rows} == names


def test_table_plot():
    """A line for every bound against depth, labelled, saying what is counted."""
    table = bounds.table(2, [8, 8, 8])
    ax = table.plot()
    assert {line.get_label() for line in ax.get_lines()} == {row.name for row in table.rows}
    assert "activation regions" in ax.get_ylabel()
    assert "layers" in ax.get_xlabel()
    line = next(line for line in ax.get_lines() if line.get_label() == "serra2018_upper")
    expected = [bounds.serra2018_upper(2, [8] * depth).log10 for depth in (1, 2, 3)]
    np.testing.assert_allclose(line.get_ydata(), expected)
    given = plt.subplots()[1]
    assert table.plot(ax=given) is given


def test_depth_chain_of_the_paper():
    """N = 12, m = 2: the chain of the leading form holds to N / e = 4.4 layers, so to 4, and falls beyond."""
    chain = bounds.depth_chain(12, 2)
    frame = chain.to_dataframe().set_index("layers")
    assert [frame.leading[n] for n in (1, 2, 3, 4, 6, 12)] == [144, 1296, 4096, 6561, 4096, 1]
    assert frame.leading_rises.to_list() == [True] * 4 + [False] * 8
    assert [frame.recursive[n] for n in (1, 2, 3, 4, 6)] == [79, 22**2, 11**3, 7**4, 4**6]
    np.testing.assert_allclose(10**frame.log10_leading, frame.leading.astype(float))
    lines = str(chain).splitlines()
    assert lines[5].split() == ["4", "3", "3.81697", "3.38039", "leading", "and", "recursive"]
    assert "rises to 4 layers" in lines[-2]


def test_depth_chain_plot():
    """Both forms as lines, with where each stops rising and N / e."""
    chain = bounds.depth_chain(30, 3, "hardtanh")
    ax = chain.plot()
    labels = [line.get_label() for line in ax.get_lines()]
    assert f"leading form: rises to {chain.leading_holds_until} layers" in labels
    assert f"recursive product: rises to {chain.recursive_holds_until} layers" in labels
    assert "2 N / e = 22.07" in labels
    assert "patterns" in ax.get_ylabel()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.serra2018_upper(0, [3]), "inputs: expected an integer of at least 1, got 0"),
        (lambda: bounds.serra2018_upper(2.0, [3]), "inputs must be a whole number"),
        (lambda: bounds.serra2018_upper(2, 3), r"write widths=\[3\]"),
        (lambda: bounds.serra2018_upper(2, []), "at least one hidden layer"),
        (lambda: bounds.serra2018_upper(2, [3, 0]), r"widths\[1\]: expected an integer of at least 1, got 0"),
        (lambda: bounds.serra2018_upper(2, [3, True]), r"widths\[1\]"),
        (lambda: bounds.serra2018_upper(2, [3, 3], ranks=[1]), "one for each of 2 hidden layers, got 1"),
        (lambda: bounds.serra2018_lower(2, [6, 5]), "three units an input"),
        (lambda: bounds.montufar2014(3, [2, 9]), r"widths\[0\]: expected an integer of at least 3"),
        (lambda: bounds.pascanu2013(3, [2, 9]), "as wide as the input"),
        (lambda: bounds.arora2018(1, [1]), "two teeth"),
        (lambda: bounds.raghu2017(2, [3], "tanh"), "expected one of relu, leaky_relu"),
        (lambda: bounds.raghu2017(2, [3], form="asymptotic"), "'recursive', 'leading'"),
        (lambda: bounds.zaslavsky(-1, 2), "hyperplanes: expected an integer of at least 0"),
        (lambda: bounds.zaslavsky(1, 2, "projective"), "'affine', 'central', 'bounded'"),
        (lambda: bounds.hinz2019(2, [3], "sharp"), "naive, zaslavsky, binomial or a function"),
        (lambda: bounds.hinz2019(2, [3], "binomial", "leaky_relu"), "keep their slope"),
        (
            lambda: bounds.hinz2019(2, [3], lambda d, n, p: [1]),
            r"expected 4 counts for a layer of 3 units, got \[1\]",
        ),
        (lambda: bounds.hanin_rolnick2019(2, [3], sigma_b=0.0), "sigma_b: expected a positive number"),
        (lambda: bounds.montufar2014_maxout(1, [2], rank=1), "rank: expected an integer of at least 2"),
        (lambda: bounds.xiong2020(3, 1, 4, 1, 2), "kernel: expected one that fits"),
        (lambda: bounds.xiong2020((4, 4), 1, (2, 2, 2), 1, 2), "kernel: expected 2 numbers"),
        (lambda: bounds.xiong2020_upper(3, 1, []), "at least one bounds.Conv"),
        (lambda: bounds.xiong2020_lower(4, 3, [Conv(2, 2), Conv(2, 2)]), r"layers\[0\].filters"),
        (lambda: bounds.xiong2020_lower(4, 1, [Conv(2, 2, padding=1)]), r"layers\[0\].padding"),
    ],
)
def test_messages_name_the_thing_and_the_way_out(call, message):
    """InvalidInputError, which is also a ValueError."""
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_numpy_shapes_are_welcome():
    """Integers of any kind, sequences of any kind."""
    assert bounds.serra2018_upper(np.int64(2), np.array([10, 10, 10])) == 175616
    assert bounds.serra2018_upper(2, (n for n in (10, 10, 10))) == 175616


def test_custom_units_and_histograms():
    """A unit with three knots; a histogram of one's own that repeats the naive bound."""
    stairs = bounds.Unit("stairs", knots=3, collapses=False)
    assert bounds.raghu2017(2, [4], stairs) == 1 + 3 * 4 + 9 * 6
    assert bounds.hinz2019(2, [3, 3], lambda d, n, p: [0] * n + [(1 + p) ** n]) == 64
