"""The report from nothing: train a small network on real digits, keep where it started, measure both."""

from __future__ import annotations

import os

from netfold.reporting.gather import ReportData, Story
from netfold.reporting.page import report
from netfold.training.digits import load_digits, train


def report_on_digits(
    output: str | os.PathLike[str] = "report.html",
    *,
    pairs: int = 40,
    seconds: float | None = 120.0,
    seed: int = 0,
    progress: bool = False,
) -> ReportData:
    """Train a ReLU network on scikit-learn's digits and report on it, beside its initial weights.

    Args:
        output: the page to write.
        pairs: how many pairs of test digits to walk between.
        seconds: how long the measurements may take, about.
        seed: of the split, the weights, the training order and the pairs.
        progress: show progress bars on stderr where that is a terminal.

    Returns:
        What the page says, as numbers.
    """
    digits = load_digits(seed)
    trained = train(digits, seed=seed, progress=progress)
    right = f"{trained.train_accuracy:.1%} right on its {len(digits.train):,} training digits"
    story = Story(
        network="a small ReLU network trained on scikit-learn’s digits",
        data="scikit-learn’s digits, 8×8 pixels, the quarter kept aside for testing",
        inputs="test digit",
        recipe=f"{trained.recipe}; {right}",
        image_shape=digits.shape,
    )
    return report(
        trained.net,
        digits.test,
        output,
        initial=trained.initial,
        labels=digits.test_labels,
        pairs=pairs,
        seconds=seconds,
        seed=seed,
        story=story,
        progress=progress,
    )
