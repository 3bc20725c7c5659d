"""What is compiled while something runs is told apart from it."""

import time

from netfold.exact.numerics.compiling import compile_time, timed


def test_only_open_clocks_run_and_blocks_inside_count_once() -> None:
    """A block within a block is part of it; what comes before or after a clock is not on it; clocks run side by side."""
    with timed():
        time.sleep(0.01)
    with compile_time() as outer:
        with timed(), timed():
            time.sleep(0.02)
        with compile_time() as inner, timed():
            time.sleep(0.01)
    with timed():
        time.sleep(0.01)
    assert len(outer) == 2
    assert inner == outer[1:]
    assert all(seconds > 0 for seconds in outer)
