"""Sweeps: a plan of many random networks, measured by any number of workers into one file that survives a crash."""

from netfold.sweep.plan import Cell, Plan
from netfold.sweep.sweep import Sweep, SweepStatus

__all__ = ["Cell", "Plan", "Sweep", "SweepStatus"]
