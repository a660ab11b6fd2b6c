"""Costs of resources as functions of their loads."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from isthmus._core.errors import InputError, ShapeError

_TINY = 1e-12


class Costs(Protocol):
    """Costs of all resources at once; the gradient of a convex potential in the loads."""

    def value(self, loads: np.ndarray) -> np.ndarray:
        """The cost of each resource, ``(e,)``."""
        ...

    def potential(self, loads: np.ndarray) -> float:
        """The convex function whose gradient `value` is, zero at zero load."""
        ...

    def marginal(self) -> "Costs":
        """Costs whose potential is the social cost ``sum_e l_e c_e(l_e)``."""
        ...

    def shifted(self, constant: np.ndarray | float) -> "Costs":
        """The same costs with a constant (or one number a resource) added."""
        ...


@dataclass(frozen=True)
class MonomialCosts:
    """``c_e(l) = constant_e + coefficient_e l^power_e``: affine, BPR and Pigou costs, closed under tolls and marginal cost.

    Attributes:
        constant: ``(e,)``.
        coefficient: nonnegative, ``(e,)``.
        power: nonnegative, ``(e,)``.
    """

    constant: np.ndarray
    coefficient: np.ndarray
    power: np.ndarray

    def __post_init__(self) -> None:
        arrays = [np.atleast_1d(np.asarray(a, dtype=np.float64)) for a in (self.constant, self.coefficient, self.power)]
        try:
            arrays = [np.array(a) for a in np.broadcast_arrays(*arrays)]
        except ValueError as fault:
            raise ShapeError(f"constant, coefficient and power must have one entry per resource: {fault}.") from fault
        for name, array in zip(("constant", "coefficient", "power"), arrays, strict=True):
            if not np.isfinite(array).all():
                raise InputError(f"The cost's {name} is not finite for resource {int(np.argmin(np.isfinite(array)))}.")
            object.__setattr__(self, name, array)
        falling = (arrays[1] < 0) | (arrays[2] < 0)
        if falling.any():
            worst = int(np.argmax(falling))
            raise InputError(
                f"The cost of resource {worst} decreases with its load (coefficient {arrays[1][worst]:g}, power "
                f"{arrays[2][worst]:g}). Equilibria are then not minima of a convex potential and need not be unique; both "
                "must be at least 0."
            )

    def value(self, loads: np.ndarray) -> np.ndarray:
        """``constant + coefficient l^power``."""
        return self.constant + self.coefficient * np.power(loads, self.power)

    def slope(self, loads: np.ndarray) -> np.ndarray:
        """The derivative in the load; loads are kept away from 0 where it is infinite there."""
        safe = np.where(self.power < 1, np.maximum(loads, _TINY), loads)
        return self.coefficient * self.power * np.power(safe, np.maximum(self.power - 1, 0) + np.minimum(self.power - 1, 0))

    def potential(self, loads: np.ndarray) -> float:
        """``sum_e int_0^l c_e``."""
        return float(np.sum(self.constant * loads + self.coefficient * np.power(loads, self.power + 1) / (self.power + 1)))

    def marginal(self) -> Self:
        """``c + l c'``, again monomials."""
        return type(self)(self.constant, self.coefficient * (1 + self.power), self.power)

    def shifted(self, constant: np.ndarray | float) -> Self:
        """The same costs with a constant added."""
        return type(self)(self.constant + constant, self.coefficient, self.power)


def anarchy_bound(degree: float) -> float:
    """The largest price of anarchy of nonnegative polynomial costs of this degree, ``1 / (1 - d (d+1)^(-(d+1)/d))``.

    References:
        Roughgarden and Tardos; 4/3 for affine costs.
    """
    return 1.0 if degree == 0 else 1 / (1 - degree * (degree + 1) ** (-(degree + 1) / degree))
