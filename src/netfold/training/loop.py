"""The training loop: stochastic gradients of the cross-entropy; and how many inputs are classified right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

Part = tuple[Tensor, Tensor]
"""Inputs and class numbers."""


def fit(
    net: nn.Module,
    data: Part,
    optimizer: torch.optim.Optimizer,
    steps: int,
    batch: int,
    seed: int,
    *,
    whole: bool = False,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    vary: Callable[[Tensor], Tensor] | None = None,
    look: Callable[[int], object] | None = None,
) -> nn.Module:
    """Train a network in place; it ends in evaluation mode, without gradients.

    Args:
        net: the network.
        data: what to train on.
        optimizer: of its parameters.
        steps: of the optimiser.
        batch: inputs a step.
        seed: of the order of the inputs.
        whole: leave those out of an epoch that do not fill a last batch (batch norm would take its statistics from
            a few).
        penalty: a term of the loss, after the network's forward pass.
        vary: what becomes of a step's inputs before the network sees them.
        look: called with the number of steps done, from 0 on, the network in evaluation mode.

    Returns:
        The network.
    """
    x, y = data
    rows = _batches(len(x), batch, seed, whole)
    for step in range(steps + 1):
        if look is not None:
            with torch.no_grad():
                net.eval()
                look(step)
        if step < steps:
            some = next(rows).to(x.device)
            net.train()
            optimizer.zero_grad()
            loss = cross_entropy(net(x[some] if vary is None else vary(x[some])), y[some])
            (loss if penalty is None else loss + penalty(net)).backward()
            optimizer.step()
    optimizer.zero_grad()
    return net.eval()


def _batches(count: int, size: int, seed: int, whole: bool) -> Iterator[Tensor]:
    """Rows of one batch after the other, without end; each epoch in an order of its own."""
    order = torch.Generator().manual_seed(seed)
    used = max(count // size * size, min(size, count)) if whole else count
    while True:
        yield from torch.randperm(count, generator=order)[:used].split(size)


def accuracy(net: Callable[[Tensor], Tensor], data: Part) -> float:
    """Share of inputs classified right; outputs that are not finite classify nothing.

    Example:
        >>> accuracy(nn.Identity(), (torch.tensor([[0.0, 1.0], [0.0, torch.nan]]), torch.tensor([1, 1])))
        0.5
    """
    x, y = data
    right, rows = 0, max(1, min(1000, 10_000_000 // max(1, x[0].numel())))
    with torch.no_grad():
        for some, classes in zip(x.split(rows), y.split(rows), strict=True):
            outputs = net(some).flatten(1)
            right += int(((outputs.argmax(1) == classes) & torch.isfinite(outputs).all(1)).sum())
    return right / len(x)
