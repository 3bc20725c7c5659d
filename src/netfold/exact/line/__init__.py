"""Straight paths: vertices carried through the program."""
