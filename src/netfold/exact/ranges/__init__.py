"""Proven ranges of pre-activations over a bounded domain."""
