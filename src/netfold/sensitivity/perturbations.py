"""What can be done to one layer's weights: small frozen objects, each a rule with a strength."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from netfold.arguments import Fraction, Gain, Spread, Within, checked
from netfold.capture.untouched import untouched
from netfold.errors import InvalidInputError


@dataclass(frozen=True)
class Weight:
    """One parameter of a layer, as a perturbation sees it.

    Attributes:
        name: its name in the model, such as ``features.0.weight``.
        value: what it holds.
        output_axis: the axis of output channels.
        owner: the module that holds it, and ``attribute`` its name there; ``None`` in exported programs.
    """

    name: str
    value: Tensor
    output_axis: int = 0
    owner: nn.Module | None = None
    attribute: str = ""

    @property
    def fan_in(self) -> int:
        """How many inputs one output reads."""
        return max(self.value.numel() // max(self.value.shape[self.output_axis], 1), 1) if self.value.ndim > 1 else 1

    def normal(self, generator: torch.Generator) -> Tensor:
        """Independent N(0, 1) numbers in the parameter's shape, drawn on the CPU, in float32 or more."""
        dtype = torch.float64 if self.value.dtype == torch.float64 else torch.float32
        return torch.randn(self.value.shape, generator=generator, dtype=dtype).to(self.value.device)

    def scale(self, each_channel: bool) -> Tensor:
        """Root mean square of the weights: one number, or one an output channel, ready to broadcast."""
        wide = self.value.double()
        if not each_channel or wide.ndim < 2:
            return wide.square().mean().sqrt()
        axes = [axis for axis in range(wide.ndim) if axis != self.output_axis]
        return wide.square().mean(axes, keepdim=True).sqrt()


class Perturbation(ABC):
    """A rule that changes the weights of one layer.

    To add one, write a frozen dataclass that

    1. names the field that says how strong it is in ``STRENGTH`` (``""`` if it has none), so that curves over
       strengths can be drawn;
    2. says in ``RANDOM`` whether it draws random numbers: if not, it is applied once in place of ``repeats`` times;
    3. says in ``BIASES`` whether one-dimensional parameters (biases) are changed too;
    4. returns a new tensor from `changed`, drawing only from the generator it is given, on the CPU, in an order that
       does not depend on the strength: then curves use the same draws at all strengths;
    5. sets ``STRONGER_UPWARD`` to False where a larger strength changes less, as with bits;
    6. sets ``INPUTS`` to True where it changes what goes into the layer (`changed_input`), and not its weights.
    """

    STRENGTH: ClassVar[str] = ""
    STRONGER_UPWARD: ClassVar[bool] = True
    RANDOM: ClassVar[bool] = True
    BIASES: ClassVar[bool] = False
    INPUTS: ClassVar[bool] = False

    @abstractmethod
    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The parameter after the perturbation, a new tensor of the same shape, number type and device."""

    def changed_input(self, value: Tensor) -> Tensor:
        """What goes into the layer, one input a row, after the perturbation; a new tensor."""
        return value.clone()

    @property
    def strength(self) -> float:
        """How strong it is; NaN where it has no scale."""
        return float(getattr(self, self.STRENGTH)) if self.STRENGTH else math.nan

    @checked
    def at(self, strength: float) -> Self:
        """The same perturbation with another strength.

        Raises:
            InvalidInputError: it has none, or the value is out of range.
        """
        if not self.STRENGTH:
            raise InvalidInputError(f"{type(self).__name__} has no strength, so it has no curve; leave strengths=None")
        whole = int(strength) if strength == int(strength) and self.STRENGTH == "bits" else strength
        return replace(self, **{self.STRENGTH: whole})  # type: ignore[type-var]

    @abstractmethod
    def describe(self) -> str:
        """What is done, in words; the axis of a curve is named after it."""


@checked
@dataclass(frozen=True)
class GaussianNoise(Perturbation):
    """Independent Gaussian noise on every weight: w + scale * r * N(0, 1).

    The paper (Raghu et al. 2017, figure 6) adds noise to one layer of a trained network; whether its scale is
    absolute or relative is not known, so both are here.

    Args:
        scale: standard deviation of the noise, in units of r.
        relative_to: ``"layer"``: r is the root mean square of the layer's weights; ``"channel"``: that of the
            weights into one output channel; ``None``: r = 1, the noise is absolute.

    Raises:
        InvalidInputError: the scale is negative or not finite, or the reference is unknown.

    Example:
        >>> weight = Weight("w", torch.full((2, 3), 2.0))
        >>> noisy = GaussianNoise(0.5).changed(weight, torch.Generator().manual_seed(0))
        >>> noisy.shape, bool((noisy != weight.value).all())
        (torch.Size([2, 3]), True)
    """

    scale: Spread
    relative_to: Literal["layer", "channel"] | None = "layer"

    STRENGTH: ClassVar[str] = "scale"

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The parameter with noise added."""
        if self.scale == 0:
            return weight.value.clone()
        noise = weight.normal(generator)
        reference = 1.0 if self.relative_to is None else weight.scale(self.relative_to == "channel").to(noise.dtype)
        return (weight.value + self.scale * reference * noise).to(weight.value.dtype)

    def describe(self) -> str:
        """What is done, in words."""
        against = {"layer": "RMS of the layer's weights", "channel": "RMS of the channel's weights", None: "1"}
        return f"Gaussian noise, standard deviation over {against[self.relative_to]}"


@checked
@dataclass(frozen=True)
class Reinitialise(Perturbation):
    """Set the layer, with its biases, back to given initial weights (Zhang, Bengio and Singer 2019).

    Args:
        initial: the network before training, or its ``state_dict``.

    Raises:
        InvalidInputError: it is neither.

    Example:
        >>> before = {"w": torch.zeros(2)}
        >>> Reinitialise(before).changed(Weight("w", torch.ones(2)), torch.Generator()).tolist()
        [0.0, 0.0]
    """

    initial: nn.Module | Mapping[str, Tensor] = field(repr=False)

    RANDOM: ClassVar[bool] = False
    BIASES: ClassVar[bool] = True

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The initial value of the parameter.

        Raises:
            InvalidInputError: the initial weights lack it, or it has another shape there.
        """
        known = self.initial.state_dict() if isinstance(self.initial, nn.Module) else self.initial
        if weight.name not in known:
            raise InvalidInputError(f"Reinitialise: the initial weights hold no '{weight.name}'")
        found = known[weight.name]
        if found.shape != weight.value.shape:
            raise InvalidInputError(
                f"Reinitialise: '{weight.name}' has shape {tuple(found.shape)} in the initial weights and "
                f"{tuple(weight.value.shape)} in the model"
            )
        return found.detach().to(weight.value.device, weight.value.dtype, copy=True)

    def describe(self) -> str:
        """What is done, in words."""
        return "re-initialised: back to the given initial weights"


@checked
@dataclass(frozen=True)
class Rerandomise(Perturbation):
    """Draw the layer afresh, with its biases, as if it had never been trained (Zhang, Bengio and Singer 2019).

    Args:
        sigma_w: draw weights from N(0, sigma_w^2 / fan_in); by default the module's own ``reset_parameters`` draws.
        sigma_b: then draw biases from N(0, sigma_b^2).

    Raises:
        InvalidInputError: sigma_w is not positive, or sigma_b is negative.

    Example:
        >>> drawn = Rerandomise(sigma_w=2.0).changed(Weight("w", torch.ones(4, 9)), torch.Generator().manual_seed(0))
        >>> drawn.shape
        torch.Size([4, 9])
    """

    sigma_w: Gain | None = None
    sigma_b: Spread = 0.0

    BIASES: ClassVar[bool] = True

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """A fresh draw.

        Raises:
            InvalidInputError: the module does not know how to draw its weights.
        """
        value = weight.value
        if self.sigma_w is None:
            return self._own_draw(weight, generator)
        spread = self.sigma_b if value.ndim < 2 else self.sigma_w / weight.fan_in**0.5
        return (spread * weight.normal(generator)).to(value.dtype)

    def _own_draw(self, weight: Weight, generator: torch.Generator) -> Tensor:
        reset = "reset_parameters" if hasattr(weight.owner, "reset_parameters") else "_reset_parameters"
        if weight.owner is None or not hasattr(weight.owner, reset):
            owner = type(weight.owner).__name__ if weight.owner is not None else "an exported program"
            raise InvalidInputError(
                f"Rerandomise: {owner} has no reset_parameters() to draw '{weight.name}' afresh; "
                "give sigma_w (weights are then N(0, sigma_w^2 / fan_in))"
            )
        # All parameters of a module come from one seed, so that its weight and its bias belong to one draw.
        with untouched(weight.owner):
            torch.default_generator.manual_seed(generator.initial_seed())
            fresh = copy.deepcopy(weight.owner).cpu()
            getattr(fresh, reset)()
            found = getattr(fresh, weight.attribute).detach()
        return found.to(weight.value.device, weight.value.dtype, copy=True)

    def describe(self) -> str:
        """What is done, in words."""
        how = "by its own rule" if self.sigma_w is None else f"N(0, {self.sigma_w:g}^2 / fan-in)"
        return f"re-randomised: a fresh draw, {how}"


@checked
@dataclass(frozen=True)
class Quantise(Perturbation):
    """Round the weights to ``bits`` bits: 2^bits - 1 equally spaced levels, symmetric about 0, up to the largest.

    w becomes s * round(w / s) with s = max|w| / (2^(bits - 1) - 1).

    Args:
        bits: from 2 on.
        per_channel: take the largest weight of every output channel, in place of the whole layer's.

    Raises:
        InvalidInputError: bits is not a whole number from 2 to 32.

    Example:
        >>> Quantise(2).changed(Weight("w", torch.tensor([[1.0, 0.4, -0.6]])), torch.Generator()).tolist()
        [[1.0, 0.0, -1.0]]
    """

    bits: Annotated[int, Within(2, 32)]
    per_channel: bool = False

    STRENGTH: ClassVar[str] = "bits"
    STRONGER_UPWARD: ClassVar[bool] = False
    RANDOM: ClassVar[bool] = False

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The parameter on its levels."""
        wide = weight.value.double()
        if self.per_channel and wide.ndim > 1:
            axes = [axis for axis in range(wide.ndim) if axis != weight.output_axis]
            largest = wide.abs().amax(axes, keepdim=True)
        else:
            largest = wide.abs().max()
        return _on_levels(wide, largest, self.bits).to(weight.value.dtype)

    def describe(self) -> str:
        """What is done, in words."""
        return f"bits of uniform quantisation, scaled per {'channel' if self.per_channel else 'layer'}"


@checked
@dataclass(frozen=True)
class QuantiseActivations(Perturbation):
    """Round what goes into the layer to ``bits`` bits, symmetric about 0; its weights stay.

    Every input of the batch has its own scale: x becomes s * round(x / s) with s = max|x| / (2^(bits - 1) - 1), the
    largest over what goes into the layer for that input ("dynamic" quantisation), so that no number depends on the
    batch. Modules that are called with several tensors have each of them rounded; one that is not called itself, as the
    output projection of torch's attention, shows no effect. The model runs as a whole.

    Args:
        bits: from 2 on.

    Raises:
        InvalidInputError: bits is not a whole number from 2 to 32.

    Example:
        >>> QuantiseActivations(2).changed_input(torch.tensor([[1.0, 0.4, -0.6], [0.1, 0.0, 0.02]])).tolist()
        [[1.0, 0.0, -1.0], [0.10000000149011612, 0.0, 0.0]]
    """

    bits: Annotated[int, Within(2, 32)]

    STRENGTH: ClassVar[str] = "bits"
    STRONGER_UPWARD: ClassVar[bool] = False
    RANDOM: ClassVar[bool] = False
    INPUTS: ClassVar[bool] = True

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The parameter as it is."""
        return weight.value.clone()

    def changed_input(self, value: Tensor) -> Tensor:
        """What goes into the layer, on its levels."""
        wide = value.double()
        largest = wide.abs().amax(list(range(1, wide.ndim)), keepdim=True) if wide.ndim > 1 else wide.abs()
        return _on_levels(wide, largest, self.bits).to(value.dtype)

    def describe(self) -> str:
        """What is done, in words."""
        return "bits of uniform quantisation of what goes into the layer, scaled per input"


def _on_levels(wide: Tensor, largest: Tensor, bits: int) -> Tensor:
    """Values rounded to whole multiples of a step, of which 2^(bits - 1) - 1 make the largest; 0 where that is 0."""
    step = largest / (2 ** (int(bits) - 1) - 1)
    levels = torch.where(step > 0, wide / torch.where(step > 0, step, 1.0), 0.0).round()
    return levels * step


@checked
@dataclass(frozen=True)
class Prune(Perturbation):
    """Set the smallest weights of the layer to zero: floor(fraction * weights) of them.

    Args:
        fraction: share to remove, from 0 to 1. Of weights of equal size the first go first.

    Raises:
        InvalidInputError: the fraction is out of range.

    Example:
        >>> Prune(0.5).changed(Weight("w", torch.tensor([[3.0, -1.0, 2.0, 0.5]])), torch.Generator()).tolist()
        [[3.0, 0.0, 2.0, 0.0]]
    """

    fraction: Fraction

    STRENGTH: ClassVar[str] = "fraction"
    RANDOM: ClassVar[bool] = False

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """The parameter without its smallest entries."""
        pruned = weight.value.clone().flatten()
        # 0.3 * 10 is 2.9999999999999996 in binary
        removed = math.floor(self.fraction * pruned.numel() * (1 + 4e-16))
        pruned[pruned.abs().argsort(stable=True)[:removed]] = 0.0
        return pruned.reshape(weight.value.shape)

    def describe(self) -> str:
        """What is done, in words."""
        return "share of the layer's weights pruned, smallest first"


@dataclass(frozen=True)
class Zero(Perturbation):
    """Set all weights of the layer to zero; its biases stay.

    Example:
        >>> Zero().changed(Weight("w", torch.ones(2)), torch.Generator()).tolist()
        [0.0, 0.0]
    """

    RANDOM: ClassVar[bool] = False

    def changed(self, weight: Weight, generator: torch.Generator) -> Tensor:
        """Zeros."""
        return torch.zeros_like(weight.value)

    def describe(self) -> str:
        """What is done, in words."""
        return "all weights set to zero"


Quantize, Reinitialize, Rerandomize = Quantise, Reinitialise, Rerandomise
QuantizeActivations = QuantiseActivations
"""The same by their American spelling."""
