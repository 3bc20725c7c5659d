"""Watching training: measures every n steps, in a plain loop, in Lightning and in Hugging Face."""

from netfold.training.frameworks import lightning_callback, transformers_callback
from netfold.training.history import History
from netfold.training.monitor import Monitor, follow, measure
from netfold.training.watched import AlongPaths, LayerLoss, LocalComplexity, Watched

__all__ = [
    "AlongPaths",
    "History",
    "LayerLoss",
    "LocalComplexity",
    "Monitor",
    "Watched",
    "follow",
    "lightning_callback",
    "measure",
    "transformers_callback",
]
