"""Cells of R^m: activation regions of a whole space, a box or a polytope, by splitting unit after unit."""

from netfold.exact.cells.choice import engine_for
from netfold.exact.cells.engine import Cells, Engine, Outcome, Prefix, whole
from netfold.exact.cells.network import Arrays

__all__ = ["Arrays", "Cells", "Engine", "Outcome", "Prefix", "engine_for", "whole"]
