"""Ctrl-C while a model is captured."""

from __future__ import annotations

import signal

import pytest
import torch
from torch import Tensor, nn

import netfold as nf
from netfold.progress import held


class Pressed(nn.Module):
    """Somebody presses Ctrl-C whenever it runs, and it notes that it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.press, self.runs = nn.Linear(2, 2), True, [0]

    def forward(self, x: Tensor) -> Tensor:
        self.runs[0] += 1
        if self.press:
            signal.raise_signal(signal.SIGINT)
        return torch.relu(self.layer(x))


def test_interrupted() -> None:
    """It ends in `KeyboardInterrupt`, never in an error of netfold's, and the model is as it was."""
    net = Pressed()
    with pytest.raises(KeyboardInterrupt):
        nf.capture(net, shape=(2,))
    assert net.runs == [0]
    net.press = False
    assert len(nf.capture(net, shape=(2,)).layers) == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_held() -> None:
    """A signal waits for the end of what must not be left half done; a second one does not wait."""
    done = []

    def press(times: int) -> None:
        with held(), held():
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
            done.append(times)

    for times in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            press(times)
    assert done == [1]
