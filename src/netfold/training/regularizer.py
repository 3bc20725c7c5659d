"""Trajectory regularisation: a layer that keeps the path through a minibatch short (Raghu et al. 2017, figure 10)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from netfold.arguments import NotNegative, checked
from netfold.errors import InvalidInputError
from netfold.renamed import renamed

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class TrajectoryRegularizer(nn.Module):
    """A layer in batch norm's place that shortens the path through the points of a minibatch.

    The minibatch z_1, ..., z_N is read as a polyline. With the mean length of its steps::

        length(z) = (1 / (N - 1)) sum_i |z_(i+1) - z_i|,

    the layer gives ``lambda * z`` and holds the term ``lambda * length(z) / original length``, which
    `penalty` multiplies by ``weight`` and adds up over the network. Three lines in a training loop::

        net = nf.TrajectoryRegularizer.in_place_of_batch_norm(net)   # or put the layer into the model by hand
        ...
        loss = cross_entropy(net(x), y) + nf.TrajectoryRegularizer.penalty(net)
        loss.backward()

    The output is the same function of the input in training and in evaluation, row by row; only the term looks at the
    batch. It needs no running averages of the activations.

    What the paper leaves open, and what was chosen here:

    - *"original length"* may be the length of the network's input minibatch or the layer's own length at the start.
      ``original="first"`` (default): of this layer's incoming activations in its first training batch, kept in the
      buffer ``original_length`` (and so in checkpoints). ``original="input"``: of the minibatch at the network's input,
      which is then handed to `penalty`.
    - *current length*: of the incoming activations, before lambda. The paper's length is a sum of steps; the mean of
      them, used here, gives the same ratio and does not change when the last batch of an epoch is smaller.
    - *lambda*: learned, one number a layer. It is exp(``log_scale``), so it stays positive: otherwise the term could be
      driven to minus infinity. It starts at 1.
    - *order of the points*: as they stand in the minibatch, so for shuffled data a random polyline.

    The plain penalty form, ``scaled=False``: nothing is learned, activations pass unchanged, and the term is
    ``length(z) / original length``.

    Args:
        weight: what the sum of terms is multiplied by; the paper's extra loss is scaled by about 0.01.
        original: which length the current one is compared with.
        scaled: learn lambda and multiply by it; False is the plain penalty.

    Shape:
        input and output ``(N, ...)``; everything after the first axis is one vector.

    Raises:
        InvalidInputError: the weight is negative or not finite, or ``original`` is something else.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), TrajectoryRegularizer(weight=0.01), nn.ReLU(), nn.Linear(3, 1))
        >>> y = net(torch.randn(8, 2))
        >>> round(float(TrajectoryRegularizer.penalty(net).detach()), 6)  # in the first batch, with lambda 1
        0.01
    """

    original_length: Tensor
    term: Tensor | None

    @checked
    def __init__(
        self, weight: NotNegative = 0.01, *, original: Literal["first", "input"] = "first", scaled: bool = True
    ) -> None:
        super().__init__()
        self.weight, self.original, self.scaled = float(weight), original, scaled
        if scaled:
            self.log_scale = nn.Parameter(torch.zeros(()))
        # One entry on an axis: torch.compile takes a float64 number of shape () for a Python float, and what is written
        # to it is lost.
        self.register_buffer("original_length", torch.zeros(1))
        self.term = None

    @property
    def scale(self) -> Tensor:
        """The learned factor lambda; 1 in the plain penalty form."""
        return self.log_scale.exp() if self.scaled else torch.ones_like(self.original_length[0])

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by lambda; in training, remember the term for the loss."""
        if self.training:
            self.term = self._term(x)
        return self.scale.to(x.dtype) * x if self.scaled else x

    def _term(self, x: Tensor) -> Tensor:
        length = mean_step(x)
        if self.original == "input":
            return self.scale * length
        # No branch on the value: the same operations in every step, so that the layer compiles to one graph.
        now = length.detach().to(self.original_length.dtype).reshape(1)
        self.original_length.copy_(torch.where(self.original_length > 0, self.original_length, now))
        # A clone: the buffer may be written again (gradient checkpointing, another forward) before backward.
        reference = self.original_length.clone()[0]
        return self.scale * length / torch.where(reference > 0, reference, 1.0)

    @staticmethod
    @renamed(net="model")
    @checked
    def penalty(model: nn.Module, inputs: Tensor | None = None) -> Tensor:
        """What to add to the loss: the weighted terms of all regularisers of a network, from its last forward pass.

        Args:
            model: a network with regularisers in it, after a forward pass in training mode.
            inputs: the minibatch, for regularisers with ``original="input"``.

        Returns:
            A number with a gradient.

        Raises:
            InvalidInputError: there is no regulariser, none has run in training mode, or the minibatch is needed.
        """
        found = [m for m in model.modules() if isinstance(m, TrajectoryRegularizer)]
        terms = [(m, m.term) for m in found if m.term is not None]
        if not terms:
            what = "has not run in training mode yet" if found else "has no TrajectoryRegularizer in it"
            raise InvalidInputError(f"{type(model).__name__} {what}; there is no penalty to add")
        relative = [m for m in found if m.original == "input"]
        if relative and inputs is None:
            raise InvalidInputError("original='input' compares with the minibatch: penalty(model, inputs)")
        reference = mean_step(inputs.detach()) if relative and inputs is not None else torch.ones(())
        total = torch.zeros((), dtype=terms[0][1].dtype, device=terms[0][1].device)
        for module, term in terms:
            over = torch.where(reference > 0, reference, 1.0).to(term) if module.original == "input" else 1.0
            total = total + module.weight * term / over
        return total

    @staticmethod
    @renamed(net="model")
    @checked
    def in_place_of_batch_norm(model: nn.Module, make: Callable[[], TrajectoryRegularizer] | None = None) -> nn.Module:
        """A copy of a network with a regulariser in the place of every batch norm, as in the paper.

        Args:
            model: the network; it is left alone.
            make: makes one regulariser; ``TrajectoryRegularizer()`` by default.

        Returns:
            The copy, in the mode of the network.

        Raises:
            InvalidInputError: the network has no batch norm.

        Example:
            >>> net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.ReLU())
            >>> type(TrajectoryRegularizer.in_place_of_batch_norm(net)[1]).__name__
            'TrajectoryRegularizer'
        """
        if isinstance(model, NORMS) or not any(isinstance(m, NORMS) for m in model.modules()):
            raise InvalidInputError(f"{type(model).__name__} has no batch norm inside it to replace")
        changed = copy.deepcopy(model)
        made: dict[int, nn.Module] = {}
        for owner, name, norm in list(_children(changed)):
            if id(norm) not in made:
                reference = next(iter(changed.parameters()), torch.zeros(()))
                new = (make or TrajectoryRegularizer)().to(reference.device, reference.dtype)
                made[id(norm)] = new.train(norm.training)
            setattr(owner, name, made[id(norm)])
        return changed

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"weight={self.weight:g}, original={self.original!r}, scaled={self.scaled}"

    def __getstate__(self) -> dict[str, object]:
        """A copy or a pickle has no term: it belongs to a graph that is not copied."""
        return {**self.__dict__, "term": None}


def mean_step(x: Tensor) -> Tensor:
    """Mean Euclidean length of the steps of the polyline through consecutive rows; 0 for a single row.

    Its gradient where two rows coincide is taken as 0.

    Example:
        >>> mean_step(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]]))
        tensor(3.)
    """
    if x.ndim == 0:
        raise InvalidInputError("a minibatch has its points along the first axis, got a single number")
    # Half precision overflows at 65,504 already in the squares.
    rows = x.flatten(1) if x.ndim > 1 else x[:, None]
    rows = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
    if len(rows) < 2:
        return 0.0 * rows.sum()
    return torch.linalg.vector_norm(rows[1:] - rows[:-1], dim=1).mean()


def _children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for owner in model.modules():
        for name, child in owner._modules.items():
            if isinstance(child, NORMS):
                yield owner, name, child
