"""Checks of identities and rates of pseudo-networks; they build their own networks from the seed."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.seeds import Seed
from isthmus.claims import Evidence
from isthmus.claims.claim import ScaleName
from isthmus.learning.complexity import sample_complexity, width_complexity
from isthmus.learning.indicator import explicit_weights
from isthmus.learning.pseudo import Displacement, PseudoNetwork
from isthmus.learning.remainder import remainder_orders
from isthmus.learning.saddle import saddle_certificate
from isthmus.learning.series import SERIES, PowerSeries, polynomial
from isthmus.learning.targets import TwoLayerTeacher
from isthmus.linops.random import gaussian, rademacher
from isthmus.model.derivatives import HessianProduct
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from isthmus.model.taylor import taylor_terms
from isthmus.model.zoo import relu_net
from isthmus.papers.allenzhu2018.measured import exact, rate, within

_DIMENSION, _WIDTH, _SAMPLES = 5, 40, 60
_WIDTHS = {"smoke": (40, 90, 200, 450), "desk": (40, 90, 200, 450, 1000), "paper": (40, 90, 200, 450, 1000, 2200)}
_INDICATOR_WIDTHS = {
    "smoke": (125, 500, 2000, 8000),
    "desk": (500, 2000, 8000, 32000, 128000),
    "paper": (500, 2000, 8000, 32000, 128000),
}
_SEEDS = {"smoke": 5, "desk": 8, "paper": 12}


def _network(seed: Seed, width: int = _WIDTH, depth: int = 3) -> PseudoNetwork:
    return PseudoNetwork.of(relu_net(_DIMENSION, width, 1, depth, seed=seed).double())


def _displacement(seed: Seed, width: int = _WIDTH, size: float = 0.3) -> Displacement:
    first = gaussian((width, _DIMENSION), seed.child("W'"), torch.float64) * size / width**0.5
    return Displacement(first, gaussian((width, width), seed.child("V'"), torch.float64) * size / width**0.5)


def _inputs(seed: Seed, count: int = _SAMPLES) -> Tensor:
    return gaussian((count, _DIMENSION), seed.child("x"), torch.float64)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def _decomposition(seed: Seed, scale: ScaleName, *, frozen: bool) -> Evidence:
    errors = []
    for index in range(_SEEDS[scale]):
        here = seed.child(index)
        network, move, x = _network(here), _displacement(here), _inputs(here)
        parts = network.start(x) + network.linear(x, move) + network.bilinear(x, move)
        errors.append(_relative(network.frozen(x, move) if frozen else network.true(x, move), parts))
    return exact("distance of the displaced network from start + linear + bilinear, relative", errors, _WIDTH**2)


def check_decomposition(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """With the signs of the start the three parts are the whole network."""
    return _decomposition(seed, scale, frozen=True)


def control_decomposition(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """With its own signs they are not."""
    return _decomposition(seed, scale, frozen=False)


def _mixing(seed: Seed, scale: ScaleName, *, mixed: bool) -> Evidence:
    errors, eta = [], 0.3
    for index in range(_SEEDS[scale]):
        here = seed.child(index)
        network, x = _network(here), _inputs(here)
        now, best = _displacement(here.child("now")), _displacement(here.child("best"))
        signs = rademacher((_WIDTH,), here.child("signs"), torch.float64) if mixed else torch.ones(_WIDTH, dtype=torch.float64)
        pairs = [signs, -signs] if mixed else [signs]
        means = [network.bilinear(x, _blend(now, best.mixed(s), eta)) for s in pairs]
        expected = (1 - eta) * network.bilinear(x, now) + eta * network.bilinear(x, best)
        errors.append(_relative(torch.stack(means).mean(0), expected))
    return exact("E G2(sqrt(1-e) now + sqrt(e) Sigma best) against (1-e) G2(now) + e G2(best), relative", errors, _WIDTH**2)


def _blend(now: Displacement, best: Displacement, eta: float) -> Displacement:
    a, b = now.scaled((1 - eta) ** 0.5), best.scaled(eta**0.5)
    assert a.second is not None and b.second is not None
    return Displacement(a.first + b.first, a.second + b.second)


def check_mixing(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Random signs make the bilinear objective behave as a convex one along mixtures."""
    return _mixing(seed, scale, mixed=True)


def control_mixing(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Sign mixing off: cross terms remain."""
    return _mixing(seed, scale, mixed=False)


class Bilinear(nn.Module):
    """``f0 + G2(W', V')`` at W' = V' = 0."""

    def __init__(self, network: PseudoNetwork, gates: bool = True) -> None:
        super().__init__()
        self.network, self.gates = network, gates
        assert network.second is not None
        self.first, self.second = nn.Parameter(torch.zeros_like(network.first)), nn.Parameter(torch.zeros_like(network.second))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, with the second layer's gates or without."""
        if self.gates:
            return self.network.start(x) + self.network.bilinear(x, Displacement(self.first, self.second))
        d_w = self.network.gates(x)[0]
        return self.network.start(x) + ((d_w * (x @ self.first.T)) @ self.second.T) @ self.network.output.T


def _saddle(seed: Seed, scale: ScaleName, *, gates: bool) -> Evidence:
    errors = []
    for index in range(_SEEDS[scale]):
        here = seed.child(index)
        network, x = _network(here), _inputs(here)
        y = gaussian((_SAMPLES, 1), here.child("y"), torch.float64)
        found = saddle_certificate(network, x, y, nn.MSELoss())
        product = HessianProduct(Problem(Bilinear(network, gates), x, y, nn.MSELoss()))
        second = found.direction.second
        assert second is not None
        direction = torch.cat([found.direction.first.reshape(-1), second.reshape(-1)])
        residual = product(direction) - found.smallest * direction
        errors.append(float(residual.norm()) / abs(found.smallest))
    return exact("|H v + s v| / s at the start, s the largest operator norm of the M_j, v its singular pair", errors, _WIDTH**2)


def check_saddle(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The start of the bilinear objective is a strict saddle whose negative curvature is an operator norm."""
    return _saddle(seed, scale, gates=True)


def control_saddle(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The same certificate for an objective without the second layer's gates."""
    return _saddle(seed, scale, gates=False)


def _coupling(seed: Seed, scale: ScaleName, *, bilinear: bool) -> Evidence:
    widths = np.array(_WIDTHS[scale], dtype=np.float64)
    measured = np.array(
        [[_coupling_error(seed.child(i, int(m)), int(m), bilinear) for m in widths] for i in range(_SEEDS[scale])]
    )
    return rate(
        "exponent in the width of |E_Sigma F - f0 - G2| / |G2|",
        "negative: the sign-averaged network approaches the bilinear model",
        widths,
        measured,
        -0.1,
        "a gap that does not close has exponent 0; the line is chosen here",
        names=("width", "relative gap"),
    )


def _coupling_error(seed: Seed, width: int, bilinear: bool) -> float:
    """Rows of W' of norm m^-3/4 along one direction, V' aligned with the outputs so that G2 is of order 1."""
    network, x = _network(seed, width), _inputs(seed, 40)
    u = gaussian((_DIMENSION,), seed.child("u"), torch.float64)
    first = torch.outer(torch.ones(width, dtype=torch.float64), u / u.norm()) / width**0.75
    second = torch.outer(network.output[0], torch.ones(width, dtype=torch.float64)) / width**1.25
    move = Displacement(first, second)
    quadratic = network.bilinear(x, move)
    found = network.sign_averaged(x, move, 16, seed.child("mean")) - network.start(x)
    return float((found - quadratic if bilinear else found - 0 * quadratic).norm() / quadratic.norm())


def check_coupling(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Averaged over signs, the wide network is its start plus the bilinear part."""
    return _coupling(seed, scale, bilinear=True)


def control_coupling(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A linear model, whose part averages to zero over signs, in the bilinear model's place."""
    return _coupling(seed, scale, bilinear=False)


def _realized(seed: Seed, scale: ScaleName, *, biases: bool) -> Evidence:
    widths = np.array(_INDICATOR_WIDTHS[scale], dtype=np.float64)
    measured = np.array(
        [[_realization_error(seed.child(i, int(m)), int(m), biases) for m in widths] for i in range(_SEEDS[scale])]
    )
    return rate(
        "exponent in the width of the error of the explicit weights",
        "-1/2",
        widths,
        measured,
        -0.25,
        "half of the predicted exponent: heavy tails make small widths slow and intervals wide",
        names=("width", "root mean square error"),
    )


def _realization_error(seed: Seed, width: int, biases: bool) -> float:
    """Root mean square over a hundred inputs and five networks."""
    target, squares = TwoLayerTeacher(_DIMENSION, 1, 1), []
    x, y = target.sample(100, seed.child("sample"))
    for index in range(5):
        network = _network(seed.child(index), width, depth=2)
        network = network if biases else replace(network, first_bias=0 * network.first_bias)
        squares.append((network.linear(x, explicit_weights(network, target)) - y).square().mean())
    return float(torch.stack(squares).mean().sqrt())


def check_realized(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Weights written down, not trained, realize a square times a linear function in the linear part."""
    return _realized(seed, scale, biases=True)


def control_realized(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Without biases even powers are out of reach."""
    return _realized(seed, scale, biases=False)


def _complexities(terms: int | None) -> Evidence:
    """C_s of sin(3 z) at 1 against C_s of sin at 3, and of exp against sin + cos, and tanh near its radius against its sum."""
    known = {"tanh": (SERIES["tanh"], 1.5, 5067.0537868672), "sin 3z": (SERIES["sin"].scaled(3), 1.0, 127.515350326)}
    errors = []
    for series, radius, expected in known.values():
        if terms is None:
            found = sample_complexity(series, radius, constant=1.0).value
        else:
            i = np.arange(terms)
            found = float(np.sum((i + 1.0) ** 1.75 * radius**i * np.abs(series.values(terms - 1))))
        errors.append(abs(found / expected - 1))
    return within("relative error of C_s for tanh at 1.5 and sin 3z at 1", errors, 1e-9, "digits of the reference values")


def check_complexity(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Complexity sums that go past their peak and until the tail is small."""
    return _complexities(None)


def control_complexity(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """A fixed number of terms, as a quick implementation would take."""
    return _complexities(220)


_ORDERED = {"sin": SERIES["sin"], "exp": SERIES["exp"], "square": polynomial([0.0, 0.0, 1.0], "square")}


def _complexity_order(series: dict[str, PowerSeries], constants: tuple[float, ...]) -> Evidence:
    """By how many powers of ten C_s exceeds C_eps, at worst."""
    gaps = [
        sample_complexity(one, constant=c).log10 - width_complexity(one, eps=0.1, constant=c).log10
        for one in series.values()
        for c in constants
    ]
    return within(
        f"log10 of C_s over C_eps at R = 1, eps = 0.1, C* = {', '.join(f'{c:g}' for c in constants)} for {', '.join(series)}, at worst",
        gaps,
        0.0,
        "the order of the two measures",
    )


def check_order(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """At constants of ten and above the samples' measure is below the width's."""
    return _complexity_order(_ORDERED, (10.0, 100.0, 1e4))


def control_order(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """For the identity it is not, at any constant and this eps."""
    return _complexity_order({"identity": polynomial([0.0, 1.0], "identity")}, (10.0, 100.0, 1e4))


def _two_layer_coupling(seed: Seed, scale: ScaleName, exponent: float) -> Evidence:
    """|F - G| of two layers for displacements whose rows have norm ``m^exponent``, over the width."""
    widths = np.array([100, 400, 1600, 6400] if scale == "smoke" else [100, 400, 1600, 6400, 25_600])
    measured = np.empty((_SEEDS[scale], len(widths)))
    for index in range(len(measured)):
        for column, width in enumerate(widths):
            here = seed.child(index, int(width))
            network, x = _network(here, int(width), depth=2), _inputs(here, 100)
            rows = gaussian((int(width), _DIMENSION), here.child("W'"), torch.float64)
            move = Displacement(rows / rows.norm(dim=1, keepdim=True) * float(width) ** exponent)
            measured[index, column] = float((network.true(x, move) - network.frozen(x, move)).square().mean().sqrt())
    return rate(
        "exponent in the width of the distance between a two-layer network and its frozen-sign model",
        "-3/4: flipped units times their size, with random output signs",
        widths,
        measured,
        -0.5,
        "the exponent of the share of flipped signs alone",
        names=("width", "root mean square distance"),
    )


def check_two_layer_coupling(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Rows of norm 1/m, as the theory's W* has."""
    return _two_layer_coupling(seed, scale, -1.0)


def control_two_layer_coupling(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """Rows as large as those of the start, of norm m^-1/2."""
    return _two_layer_coupling(seed, scale, -0.5)


def is_smooth(problem: Problem) -> bool:
    """Whether the remainder of the second-order model shrinks as a smooth network's must: no kinks within reach."""
    few = problem.subset(slice(0, 40)).eval()
    return bool(remainder_orders(few, few.inputs, order=2, lengths=(0.1, 0.05, 0.025, 0.0125)).smooth[1:].all())


def bends(problem: Problem) -> bool:
    """Whether the second-order term of this network is above rounding along a random direction."""
    few = problem.subset(slice(0, 8)).to(torch.float64).eval()
    terms = taylor_terms(few.network, few.inputs, _small_step(few.network, Seed(0).child("bends")), 2)
    return float(terms[2].norm()) > 1e-9 * float(terms[1].norm())


def _small_step(network: Network, seed: Seed) -> dict[str, Tensor]:
    """A random direction of 2 % of the parameters' norm."""
    drawn = gaussian((network.size,), seed, torch.float64, network.device)
    return network.layout.unflatten(0.02 * torch.linalg.vector_norm(network.flat) * drawn / torch.linalg.vector_norm(drawn))


def _own_orders(problem: Problem, scale: ScaleName, seed: Seed, sign: float) -> Evidence:
    few = problem.subset(slice(0, 100)).to(torch.float64).eval()
    network, ratios = few.network, []
    for index in range(_SEEDS[scale]):
        shift = _small_step(network, seed.child(index))
        terms = taylor_terms(network, few.inputs, shift, 2)
        moved = network.at({name: value + shift[name] for name, value in network.parameters.items()})
        rest = moved(few.inputs) - terms[0] - terms[1]
        ratios.append(float((rest - sign * terms[2]).norm() / rest.norm()))
    return Evidence.over_seeds(
        np.array(ratios),
        quantity="|f - T2| / |f - T1| on this network, parameters moved by 2 % in random directions",
        predicted="near 0",
        threshold=0.5,
        reason="half the error of the first order; 1 is a second-order term that explains nothing",
    )


def check_own_orders(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The quadratic model is nearer to this network than its linearization."""
    return _own_orders(problem, scale, seed, 1.0)


def control_own_orders(problem: Problem, scale: ScaleName, seed: Seed) -> Evidence:
    """The quadratic part with its sign turned."""
    return _own_orders(problem, scale, seed, -1.0)
