"""Measures: results, and the functions that choose a method and make them."""
