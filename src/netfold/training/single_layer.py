"""Train exactly one layer of a randomly initialised network, the rest frozen: which layer learns most alone?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netfold.arguments import Positive, PositiveInt, Seed, checked
from netfold.arrays import Floats
from netfold.capture.data import tensor_of
from netfold.capture.reading import home
from netfold.errors import InvalidInputError
from netfold.progress import progress_bar
from netfold.results.base import Result, Variable, above, measured, variable
from netfold.results.provenance import surroundings
from netfold.sensitivity.layers import WeightLayer, weight_layers
from netfold.training.loop import Part, accuracy, fit

if TYPE_CHECKING:
    import pandas as pd


NONE = "none"


class SingleLayerTraining(Result):
    """Accuracy of networks of which one layer alone was trained."""

    FORMAT = "netfold single layer training 1"

    layers: tuple[str, ...] = measured(
        "the layers that were trained alone, in the order in which the model holds them",
        ("layer",),
        name="layer",
        coordinate=True,
    )
    train: Floats = measured("accuracy on the training data", ("layer", "seed"))
    test: Floats = measured("accuracy on the data kept aside (NaN without)", ("layer", "seed"))
    untrained: Floats = measured("accuracy before training: train, test", ("part", "seed"))
    whole: Floats = measured("accuracy with all layers trained (NaN where that was not asked for)", ("part", "seed"))
    weights: NDArray[np.int64] = measured("how many parameters each layer has", ("layer",), coordinate=True)
    seeds: tuple[int, ...] = measured("the seeds", ("seed",), name="seed", coordinate=True)
    recipe: str = measured("how it was trained, in words")
    provenance: dict[str, Any] = measured("versions, time", default_factory=dict, compare=False)

    plot = above("netfold.plots.training:single_layer")

    @property
    def _lines(self) -> list[tuple[str, Floats, Floats]]:
        """Accuracies on the training data and on those kept aside: with no layer trained, each, and all."""
        alone = zip(self.layers, self.train, self.test, strict=True)
        return [(NONE, *self.untrained), *alone, ("all", *self.whole)]

    def to_dataframe(self) -> pd.DataFrame:
        """One row a layer and seed (and for no layer, all layers): ``layer``, ``seed``, ``train``, ``test``."""
        import pandas as pd

        rows = [
            {"layer": name, "seed": seed, "train": a, "test": b}
            for name, train, test in self._lines
            for seed, a, b in zip(self.seeds, train, test, strict=True)
        ]
        return pd.DataFrame(rows)

    def _more(self) -> dict[str, Variable]:
        return {"part": variable(["train", "test"], "which data", ("part",), coordinate=True)}

    def __repr__(self) -> str:
        width = max(len(name) for name in (*self.layers, NONE))
        lines = [f"SingleLayerTraining, {len(self.seeds)} seeds: {self.recipe}"]
        lines.append(f"  {'trained alone':<{max(width, 13)}} {'train':>8} {'test':>8} {'sd(test)':>9}")
        for name, a, b in self._lines:
            if not np.isnan(a).all():
                lines.append(f"  {name:<{max(width, 13)}} {a.mean():>8.4f} {b.mean():>8.4f} {b.std():>9.4f}")
        return "\n".join(lines)


@checked
def train_single_layer(
    make: Callable[[int], nn.Module],
    train: tuple[Any, Any],
    test: tuple[Any, Any] | None = None,
    *,
    layers: Sequence[str] | None = None,
    seeds: Sequence[Seed] = range(5),
    epochs: PositiveInt = 10,
    batch: PositiveInt = 64,
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    learning_rate: Positive = 1e-3,
    biases: bool = True,
    whole: bool = True,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> SingleLayerTraining:
    """Train exactly one layer of a random network, all others frozen where they started, for every layer and seed.

    The paper's experiment (Raghu et al. 2017; v4 figures 6 and 7), with what it leaves open as arguments: depth and
    widths are those of ``make``; loss is the cross-entropy; the optimiser sees the layer's parameters alone. For one
    seed every layer starts from the same network and sees the same batches in the same order. Networks are trained in
    training mode and judged in evaluation mode.

    Args:
        make: makes the network of a seed, at its random initialisation.
        train: inputs and class numbers, one a row, and ``test`` the same kept aside.
        layers: module paths; by default every layer with a weight matrix or kernel.
        seeds: of the network and of the order of the data.
        epochs: passes over the data.
        batch: inputs a step.
        optimizer: called with the parameters and ``lr``.
        learning_rate: of the optimiser.
        biases: train the layer's biases with its weights.
        whole: also train all layers together, to compare with.
        device: where to train.
        progress: show a progress bar; by default only in a terminal.

    Returns:
        Accuracies by layer and seed, beside the untrained and the fully trained network.

    Raises:
        InvalidInputError: data or labels have a wrong shape, or a number is out of range.

    Example:
        >>> import netfold as nf
        >>> x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
        >>> found = train_single_layer(
        ...     lambda seed: nf.random_network(4, 16, 2, 2, seed=seed), (x, y), seeds=[0], epochs=5, whole=False
        ... )
        >>> found.layers, found.train.shape
        (('linear1', 'linear2', 'readout'), (3, 1))
    """
    begin = time.perf_counter()
    if len(seeds) == 0:
        raise InvalidInputError("seeds must hold at least one, it is empty")
    device = _device(device)
    parts = [_data(train, "train", device), *([_data(test, "test", device)] if test is not None else [])]
    recipe = SingleLayerRecipe(epochs, batch, optimizer, learning_rate, biases)
    names: tuple[str, ...] = ()
    weights: list[int] = []
    found: list[list[tuple[float, float]]] = []
    with progress_bar(len(seeds), "training one layer", "seed", progress) as bar:
        for seed in seeds:
            net = _made(make, seed, device)
            chosen = weight_layers(net, layers)
            names = names or tuple(layer.name for layer in chosen)
            weights = [sum(w.value.numel() for w in layer.chosen(biases)) for layer in chosen]
            found.append(_one_seed(net, chosen, _in_type_of(net, parts), recipe, seed, whole))
            bar.update()
    table = np.array(found)  # (seeds, untrained + layers + all, train and test)
    return SingleLayerTraining(
        layers=names,
        train=table[:, 1:-1, 0].T,
        test=table[:, 1:-1, 1].T,
        untrained=table[:, 0].T,
        whole=table[:, -1].T,
        weights=np.array(weights, np.int64),
        seeds=tuple(int(s) for s in seeds),
        recipe=recipe.words,
        provenance={**surroundings(), "seconds": time.perf_counter() - begin},
    )


@dataclass(frozen=True)
class SingleLayerRecipe:
    """How to train."""

    epochs: int
    batch: int
    optimizer: Callable[..., torch.optim.Optimizer]
    learning_rate: float
    biases: bool

    @property
    def words(self) -> str:
        """In words."""
        name = getattr(self.optimizer, "__name__", type(self.optimizer).__name__)
        what = "weights and biases" if self.biases else "weights"
        return (
            f"{name}, learning rate {self.learning_rate:g}, {self.epochs} epochs of {self.batch} inputs a step, "
            f"cross-entropy; {what} of the layer"
        )


def _one_seed(
    net: nn.Module, layers: Sequence[WeightLayer], parts: list[Any], recipe: SingleLayerRecipe, seed: int, whole: bool
) -> list[tuple[float, float]]:
    """Accuracy untrained, with every layer trained alone, and with all of them trained."""
    start = {name: value.clone() for name, value in net.state_dict().items()}
    found = [_accuracies(net, parts)]
    groups = [[w.name for w in layer.chosen(recipe.biases)] for layer in layers]
    if whole:
        groups.append([name for name, _ in net.named_parameters()])
    for names in groups:
        net.load_state_dict(start)
        _train(net, set(names), parts[0], recipe, seed)
        found.append(_accuracies(net, parts))
    return found if whole else [*found, (np.nan, np.nan)]


def _train(net: nn.Module, names: set[str], data: Part, recipe: SingleLayerRecipe, seed: int) -> None:
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in names)
        parameter.grad = None
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = recipe.optimizer(trained, lr=recipe.learning_rate)
    steps = recipe.epochs * -(-len(data[0]) // recipe.batch)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.default_generator.manual_seed(seed)  # dropout, where there is any
        fit(net, data, optimizer, steps, recipe.batch, seed)


def _accuracies(net: nn.Module, parts: list[Part]) -> tuple[float, float]:
    found = [accuracy(net.eval(), part) for part in parts]
    return found[0], found[1] if len(found) > 1 else float("nan")


def _made(make: Callable[[int], nn.Module], seed: int, device: Any) -> nn.Module:
    if isinstance(make, nn.Module):
        raise InvalidInputError(
            f"make must be a function that makes the network of a seed, got a {type(make).__name__}: every layer is "
            "trained from a network anew, as lambda seed: nf.random_network(..., seed=seed) makes it"
        )
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        net = make(seed)
    if not isinstance(net, nn.Module):
        raise InvalidInputError(f"make(seed) must make a torch.nn.Module, got {type(net).__name__}")
    return net.to(device)


def _in_type_of(net: nn.Module, parts: list[Part]) -> list[Part]:
    """Inputs of real numbers in the network's own number type, as other verbs take them too."""
    dtype, _ = home(net)
    return [(x.to(dtype) if x.is_floating_point() else x, y) for x, y in parts]


def _device(device: torch.device | str) -> torch.device:
    try:
        torch.zeros(1, device=(found := torch.device(device)))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidInputError(f"device: {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return found


def _data(data: Any, what: str, device: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InvalidInputError(f"{what} must be (inputs, labels)")
    x, y = (tensor_of(d, what) for d in data)
    if x.ndim == 0 or len(x) == 0 or y.shape != (len(x),) or y.is_floating_point():
        raise InvalidInputError(
            f"{what} needs one class number an input: inputs of shape {tuple(x.shape)}, labels of shape "
            f"{tuple(y.shape)} in {y.dtype}"
        )
    if not bool(torch.isfinite(x).all()):
        raise InvalidInputError(f"{what} must be finite, got values that are NaN or infinite")
    return x.to(device), y.long().to(device)
