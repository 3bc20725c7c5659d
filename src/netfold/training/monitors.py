"""Watching training: measures every n steps, in a plain loop, in Lightning and in Hugging Face."""

from netfold.training.frameworks import lightning_callback, plain_names, transformers_callback
from netfold.training.history import History
from netfold.training.monitor import Monitor, follow, measure
from netfold.training.watched import AlongPaths, EffectiveRank, LayerLoss, LocalComplexity, UnitShares, Watched

__all__ = [
    "AlongPaths",
    "EffectiveRank",
    "History",
    "LayerLoss",
    "LocalComplexity",
    "Monitor",
    "UnitShares",
    "Watched",
    "follow",
    "lightning_callback",
    "measure",
    "plain_names",
    "transformers_callback",
]
