"""Proofs that the counts of a line hold for the stored weights."""
