"""Training the example network: real data, a result that depends on the seed alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from netfold.progress import one_thread, progress_bar
from netfold.training.digits import load_digits, train


def test_the_split_is_a_partition_of_the_digits() -> None:
    """450 + 1,347 = 1,797 images, none lost or doubled, pixels in [0, 1], all ten digits in both parts."""
    from sklearn.datasets import load_digits as bundled

    digits = load_digits(seed=5)
    together = np.concatenate([digits.train, digits.test])
    assert together.shape == (1797, 64)
    expected = np.sort((bundled().data / 16).astype(np.float32), axis=0)
    np.testing.assert_array_equal(np.sort(together, axis=0), expected)
    assert len(np.unique(digits.train_labels)) == len(np.unique(digits.test_labels)) == 10
    assert not np.array_equal(digits.test, load_digits(seed=6).test)


def test_a_seed_gives_one_network_whatever_the_threads() -> None:
    """Same seed, same weights bit for bit, with one thread or two; another seed, other weights."""
    digits, threads = load_digits(), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = train(digits, epochs=2)
        torch.set_num_threads(2)
        second = train(digits, epochs=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    other = train(digits, epochs=2, seed=1)
    pairs = zip(first.net.parameters(), second.net.parameters(), other.net.parameters(), strict=True)
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in pairs if a.dim() == 2)


def test_nothing_global_is_touched() -> None:
    """The random states of torch, numpy and Python are the same afterwards."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    train(load_digits(), epochs=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]


def test_it_learns_and_keeps_where_it_started() -> None:
    """Well above chance after a few epochs; the initial network is He's: variance 2 / fan-in, biases 0."""
    trained = train(load_digits(), epochs=8)
    assert trained.test_accuracy > 0.9 > 0.4 > trained.initial_accuracy
    weights = [p for p in trained.initial.parameters() if p.dim() == 2]
    for weight in weights[:-1]:
        assert float(weight.detach().var()) * 64 / 2 == pytest.approx(1, abs=0.1)
    assert all(not p.any() for p in trained.initial.parameters() if p.dim() == 1)
    assert all(p.grad is None for p in trained.net.parameters())


def test_threads_are_given_back_after_an_error() -> None:
    """one_thread restores the number of threads when its block fails."""
    before = torch.get_num_threads()

    def fail() -> None:
        with one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.get_num_threads() == before


def test_no_progress_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for or not, nothing is drawn where stderr is not a terminal."""
    train(load_digits(), epochs=1, progress=True)
    assert capsys.readouterr().err == ""
    assert progress_bar(1, "work", "step", None).disable
    assert progress_bar(1, "work", "step", False).disable
