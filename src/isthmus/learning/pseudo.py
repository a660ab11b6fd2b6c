"""Pseudo-networks: ReLU networks whose activation signs are frozen at the start.

With ``D_w = diag 1[W0 x + b1 >= 0]`` and ``D_v = diag 1[V0 h1 + b2 >= 0]`` frozen, a three-layer network is exactly

``A D_v ((V0 + V') D_w ((W0 + W') x + b1) + b2) = f0 + [A D_v V' h1 + A D_v V0 D_w W' x] + A D_v V' D_w W' x``,

the start, a linear (tangent kernel) part, and a part bilinear across layers, which no kernel has. A random diagonal of
signs Sigma, applied as ``Sigma W'`` and ``V' Sigma``, leaves the bilinear part unchanged and averages the linear part away.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import rademacher
from isthmus.model.network import Network
from isthmus.model.problem import Problem


@dataclass(frozen=True)
class Displacement:
    """``W' (m1, d)`` and, for three layers, ``V' (m2, m1)``."""

    first: Tensor
    second: Tensor | None = None

    def mixed(self, signs: Tensor) -> "Displacement":
        """``(Sigma W', V' Sigma)`` for signs ``(m1,)``."""
        return Displacement(signs[:, None] * self.first, None if self.second is None else self.second * signs)

    def scaled(self, factor: float) -> "Displacement":
        """Both, times a number."""
        return Displacement(factor * self.first, None if self.second is None else factor * self.second)


@dataclass(frozen=True)
class PseudoNetwork:
    """A two- or three-layer ReLU network and its signs at the start.

    Attributes:
        first: W0, ``(m1, d)``.
        first_bias: b1, ``(m1,)``.
        second: V0, ``(m2, m1)``; None for two layers.
        second_bias: b2, ``(m2,)``; empty for two layers.
        output: A, ``(k, m)``.
    """

    first: Tensor
    first_bias: Tensor
    second: Tensor | None
    second_bias: Tensor
    output: Tensor

    @classmethod
    def of(cls, source: nn.Module | Network | Problem) -> Self:
        """Read the weights of ``Sequential(Linear, ReLU[, Linear, ReLU], Linear)``.

        Raises:
            UnsupportedLayer: the module is built otherwise.
        """
        network = Network.of(source)
        layers = list(network.module.children())
        kinds = [type(layer) for layer in layers]
        if kinds not in ([nn.Linear, nn.ReLU, nn.Linear], [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]):
            raise UnsupportedLayer(
                f"A pseudo-network exists here for Sequential(Linear, ReLU, Linear) and Sequential(Linear, ReLU, Linear, ReLU, "
                f"Linear), found {[kind.__name__ for kind in kinds]}. For other networks take isthmus.taylor_model(network, 2)."
            )
        state = {**network.buffers, **network.parameters}
        weights = [state[f"{index}.weight"] for index in range(0, len(layers), 2)]
        biases = [
            state.get(f"{index}.bias", torch.zeros(len(w)).to(w)) for index, w in zip(range(0, 5, 2), weights, strict=False)
        ]
        if bool(biases[-1].any()):
            raise UnsupportedLayer("The output layer has a bias; pseudo-networks are written without one. Pass bias=False there.")
        deep = len(weights) == 3
        return cls(weights[0], biases[0], weights[1] if deep else None, biases[1] if deep else biases[-1][:0], weights[-1])

    def start(self, inputs: Tensor) -> Tensor:
        """``f0``, ``(n, k)``."""
        return self.gates(inputs)[-1] @ self.output.T

    def linear(self, inputs: Tensor, move: Displacement) -> Tensor:
        """The linear part in (W', V'), ``(n, k)``: what the tangent kernel sees."""
        d_w, hidden, *rest = self.gates(inputs)
        inner = d_w * (inputs @ move.first.T)
        if self.second is None:
            return inner @ self.output.T
        total = inner @ self.second.T + hidden @ _second(move).T
        return (rest[0] * total) @ self.output.T

    def bilinear(self, inputs: Tensor, move: Displacement) -> Tensor:
        """``G2 = A D_v V' D_w W' x``, ``(n, k)``; zero for two layers."""
        d_w, _, *rest = self.gates(inputs)
        if self.second is None:
            return torch.zeros(len(inputs), len(self.output)).to(self.output)
        return (rest[0] * ((d_w * (inputs @ move.first.T)) @ _second(move).T)) @ self.output.T

    def frozen(self, inputs: Tensor, move: Displacement) -> Tensor:
        """The displaced network with the signs of the start, evaluated directly, ``(n, k)``."""
        d_w, _, *rest = self.gates(inputs)
        hidden = d_w * (inputs @ (self.first + move.first).T + self.first_bias)
        if self.second is None:
            return hidden @ self.output.T
        return (rest[0] * (hidden @ (self.second + _second(move)).T + self.second_bias)) @ self.output.T

    def true(self, inputs: Tensor, move: Displacement) -> Tensor:
        """The displaced ReLU network itself, ``(n, k)``."""
        hidden = torch.relu(inputs @ (self.first + move.first).T + self.first_bias)
        if self.second is not None:
            hidden = torch.relu(hidden @ (self.second + _second(move)).T + self.second_bias)
        return hidden @ self.output.T

    def flipped(self, inputs: Tensor, move: Displacement) -> float:
        """Share of first-layer signs that the displacement flips, over neurons and examples."""
        before = inputs @ self.first.T + self.first_bias >= 0
        after = inputs @ (self.first + move.first).T + self.first_bias >= 0
        return float((before != after).double().mean())

    def sign_averaged(self, inputs: Tensor, move: Displacement, draws: int, seed: Seed) -> Tensor:
        """The true network averaged over antithetic pairs ``(Sigma, -Sigma)`` of random signs, ``(n, k)``."""
        total = torch.zeros(len(inputs), len(self.output)).to(self.output)
        for index in range(draws):
            signs = rademacher((len(self.first),), seed.child("signs", index), self.first.dtype, self.first.device)
            total += self.true(inputs, move.mixed(signs)) + self.true(inputs, move.mixed(-signs))
        return total / (2 * draws)

    def kernel(self, inputs: Tensor) -> Tensor:
        """The tangent kernel of the hidden weights for one output, ``(n, n)``, in closed form.

        Two layers: ``(X X^T) o (D1 diag(a^2) D1^T)``. Three: ``(H1 H1^T) o (D2 diag(a^2) D2^T) + (X X^T) o (G G^T)`` with
        ``G = D1 o ((D2 o a) V0)``.

        Raises:
            InputError: more than one output.
        """
        if len(self.output) != 1:
            raise InputError(f"The closed form is for one output, found {len(self.output)}. Use isthmus.empirical_ntk.")
        d_w, hidden, *rest = self.gates(inputs)
        gram, a = inputs @ inputs.T, self.output[0]
        if self.second is None:
            return gram * ((d_w * a.square()) @ d_w.T)
        pulled = d_w * ((rest[0] * a) @ self.second)
        return (hidden @ hidden.T) * ((rest[0] * a.square()) @ rest[0].T) + gram * (pulled @ pulled.T)

    def gates(self, inputs: Tensor) -> list[Tensor]:
        """``D_w``, hidden features, and for three layers ``D_v`` and the second hidden features."""
        before = inputs @ self.first.T + self.first_bias
        found = [(before >= 0).to(before), before.clamp_min(0)]
        if self.second is not None:
            above = found[1] @ self.second.T + self.second_bias
            found += [(above >= 0).to(above), above.clamp_min(0)]
        return found


def smoothed_relu(values: Tensor, std: float) -> Tensor:
    """``E relu(z + s rho) = z Phi(z / s) + s phi(z / s)`` for ``rho ~ N(0, 1)``: the kink rounded off by Gaussian weight noise.

    Raises:
        InputError: s is not positive.
    """
    if std <= 0:
        raise InputError(f"The smoothing standard deviation must be positive, found {std}.")
    normal = torch.distributions.Normal(torch.zeros((), dtype=values.dtype), torch.ones((), dtype=values.dtype))
    scaled = values / std
    return values * normal.cdf(scaled) + std * normal.log_prob(scaled).exp()


def _second(move: Displacement) -> Tensor:
    if move.second is None:
        raise InputError("A three-layer pseudo-network needs V' as well; pass Displacement(first, second).")
    return move.second
