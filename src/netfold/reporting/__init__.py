"""The report: measure a network between pairs of inputs and write a page about it."""

from netfold.reporting.gather import ReportData, Story
from netfold.reporting.page import report

__all__ = ["ReportData", "Story", "report"]
