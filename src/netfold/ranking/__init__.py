"""Ranking architectures: expressivity scores beside honest baselines, and how well any of them ranks."""

from netfold.ranking.correlation import RankCorrelations, rank_correlation
from netfold.ranking.score import Estimate, Score, score, table

__all__ = ["Estimate", "RankCorrelations", "Score", "rank_correlation", "score", "table"]
