"""Training-time tools: trajectory regularisation, training one layer alone, watching measures while training."""

from netfold.training import monitors
from netfold.training.regularizer import TrajectoryRegularizer, mean_step
from netfold.training.single_layer import SingleLayerTraining, train_single_layer

__all__ = ["SingleLayerTraining", "TrajectoryRegularizer", "mean_step", "monitors", "train_single_layer"]
