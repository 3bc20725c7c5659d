"""Sampled methods: adaptive quadrature and bracketed roots for networks and curves that are not piecewise linear."""
