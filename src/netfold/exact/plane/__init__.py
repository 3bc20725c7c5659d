"""Planes: polygons of a rectangle, cut layer after layer."""
