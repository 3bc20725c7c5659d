"""Counts of regions of R^m, a box or a polytope that carry their proof, for a checker that needs nothing else."""
