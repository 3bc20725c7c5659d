"""Any callable as an activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netfold.arguments import checked
from netfold.errors import InvalidInputError
from netfold.theory.activations.base import Activation, Moments
from netfold.theory.gaussian import Array, differentiate, find_kinks


@checked
@dataclass(frozen=True)
class Custom(Activation):
    """Any elementwise function of a numpy array or of a torch tensor, taken by its values alone.

    Kinks with abs(h) <= 32 are found from the values; derivatives are those of polynomials through the values
    on the panels between them, so that the error estimate of the quadrature covers them too.

    Args:
        function: elementwise, finite, continuous; a ``torch.nn.Module`` is called in the mode it is in.
        name: what results call it.

    Raises:
        InvalidInputError: the function jumps, is not finite, or changes the shape.

    Example:
        >>> Custom(lambda h: np.maximum(h, 0.1 * h)).kinks
        (0.0,)
    """

    function: Callable[[Any], Any]
    name: str = "custom"
    kinks: tuple[float, ...] = field(init=False, compare=False)
    end_slopes: tuple[float, float] | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        probe = self(np.linspace(-2.0, 2.0, 7))
        if probe.shape != (7,) or not np.isfinite(probe).all():
            raise InvalidInputError(
                f"activation {self.name!r} must map an array to finite values of the same shape, got shape "
                f"{probe.shape} and values {probe.ravel()[:4]} on [-2, 2]"
            )
        kinks, torn = find_kinks(self)
        if torn:
            raise InvalidInputError(f"activation {self.name!r} jumps near h = {kinks}: expected a continuous function")
        object.__setattr__(self, "kinks", kinks)
        object.__setattr__(self, "end_slopes", self._slopes_far_out())

    def _slopes_far_out(self) -> tuple[float, float] | None:
        """Slopes beyond abs(h) = 10^4, if those beyond 10^6 are the same."""
        near, far = (np.diff(self(np.array([-2 * h, -h, h, 2 * h])))[[0, 2]] / h for h in (1e4, 1e6))
        if not np.allclose(near, far, rtol=1e-6, atol=1e-6):
            return None
        return tuple(np.round(far, 6).tolist())

    def __call__(self, h: Array) -> Array:
        """Values at h."""
        with np.errstate(all="ignore"):
            try:
                return np.asarray(self.function(h), np.float64)
            except Exception as refusal:
                return self._through_torch(h, refusal)

    def _through_torch(self, h: Array, refusal: Exception) -> Array:
        import torch

        try:
            with torch.no_grad():
                found: Any = self.function(torch.from_numpy(np.ascontiguousarray(h)))
            return found.double().cpu().numpy()
        except Exception as error:
            raise InvalidInputError(
                f"activation {self.name!r} takes neither a numpy array ({refusal}) nor a torch tensor of the "
                f"same numbers ({error}): expected an elementwise function of float64 values"
            ) from error

    def moments(self, q: Array) -> Moments:
        """All moments for h ~ N(0, q), by quadrature."""

        def derivatives(h: Array, width: Array) -> tuple[Array, Array, Array]:
            value = self(h)
            first = differentiate(value, width)
            return value, first, differentiate(first, width)

        return self._quadrature(q, derivatives)
