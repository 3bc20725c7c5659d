"""Capture: turn a PyTorch model into a flat program of affine, piecewise-linear and other operations."""

from netfold.capture.capture import Model, capture
from netfold.capture.loading import Data, load_data, load_model
from netfold.capture.parts import part
from netfold.capture.program import Layer, Node, NodeKind, Program, Stage

__all__ = [
    "Data",
    "Layer",
    "Model",
    "Node",
    "NodeKind",
    "Program",
    "Stage",
    "capture",
    "load_data",
    "load_model",
    "part",
]
