"""Cells of R^m: activation regions of a whole space, a box or a polytope, by splitting unit after unit."""

from netfold.exact.cells.engine import Arrays, Cells, Engine, Outcome, Prefix, engine_for, whole

__all__ = ["Arrays", "Cells", "Engine", "Outcome", "Prefix", "engine_for", "whole"]
