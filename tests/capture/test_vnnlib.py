"""Boxes from VNN-LIB files: the limits of the inputs, whatever is said of the outputs; one clear error otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from netfold.capture.vnnlib import read_box
from netfold.errors import CorruptFileError, InvalidInputError

DECLARED = "(declare-const X_0 Real)\n(declare-const X_1 Real) (declare-const Y_0 Real)\n"


def test_limits(tmp_path):
    """Comments, both orders, conjunctions, repeated limits and equal ones; what is said of outputs is left out."""
    file = tmp_path / "p.vnnlib"
    file.write_text(
        DECLARED
        + "; a comment (\n(assert (<= X_0 0.5)) (assert (>= X_0 -.25))(assert (<= X_0 1e3))\n"
        + "(assert (and (<= 0.125 X_1) (>= +0.125 X_1)))\n(assert (or (and (<= Y_0 1)) (and (>= Y_0 2))))"
    )
    box = read_box(file)
    assert box.low.tolist() == [-0.25, 0.125]
    assert box.high.tolist() == [0.5, 0.125]


def test_a_limit_that_is_missing_is_infinite(tmp_path):
    file = tmp_path / "p.vnnlib"
    file.write_text(DECLARED + "(assert (<= X_0 0.5))")
    assert read_box(file).low.tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("", InvalidInputError, "X_0, X_1"),
        (")", CorruptFileError, "closes"),
        ("(assert", CorruptFileError, "not closed"),
        ("noise", CorruptFileError, "outside"),
        ("(" * 10**5, CorruptFileError, "brackets"),
        ("(declare-const Z Real)", InvalidInputError, "neither an input"),
        ("(declare-fun X_0 () Real)", CorruptFileError, "declare-fun"),
        ("(declare-const X_1 Real)", InvalidInputError, "X_0, X_1"),
        (DECLARED + "(assert (<= X_0 X_1))", InvalidInputError, "no box"),
        (DECLARED + "(assert (or (<= X_0 1) (<= X_1 1)))", InvalidInputError, "no box"),
        (DECLARED + "(assert (<= (* 2 X_0) 1))", InvalidInputError, "no box"),
        (DECLARED + "(assert (<= X_0 Y_0))", InvalidInputError, "no box"),
        (DECLARED + "(assert (<= X_5 1))", InvalidInputError, "no box"),
        (DECLARED + "(assert (<= X_0 nan))", InvalidInputError, "no box"),
        (DECLARED + "(assert (<= X_0 0)) (assert (>= X_0 1))", InvalidInputError, "low < high"),
        (DECLARED + "(assert (<= X_0 1e999))", InvalidInputError, "infinit|low|no box"),
    ],
)
def test_refused(text, kind, words, tmp_path):
    file = tmp_path / "p.vnnlib"
    file.write_text(text)
    if "1e999" in text:  # the same as no limit
        assert read_box(file).high[0] == np.inf
        return
    with pytest.raises(kind, match=words) as error:
        read_box(file)
    assert str(file) in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(InvalidInputError, match="no such domain file"):
        read_box(tmp_path / "nothing")
