"""Exact methods: domains carried through a program and split where units change state."""
