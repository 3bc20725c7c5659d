"""Arcs and circles: at a nonlinearity every unit is one harmonic of the angle."""
