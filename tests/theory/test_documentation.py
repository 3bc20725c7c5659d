"""The page on theory says what the library does: its examples run."""

import doctest
from pathlib import Path


def test_examples_of_the_page_run():
    """Every example of docs/theory.md gives what is printed there."""
    page = Path(__file__).parents[2] / "docs" / "theory.md"
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted >= 10
    assert found.failed == 0
