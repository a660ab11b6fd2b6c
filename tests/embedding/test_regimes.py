"""Regime, condensation and rank against closed forms and brute force."""

import math

import pytest
import torch
from torch import nn

from isthmus._core.errors import HypothesisError, InputError, UnsupportedLayer
from isthmus._core.status import Status
from isthmus.embedding import Growth, condensation, grow, initialization_regime, measured_regime, model_rank
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from isthmus.training import train
from tests.embedding.fixtures import steps_problem
from tests.embedding.networks import problem as built
from tests.reference import splits


def _humps(width: int = 2) -> Problem:
    """Two ReLU humps, as in the authors' code for condensation."""
    x = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    y = 0.2 * torch.relu(x - 1 / 3) + 0.2 * torch.relu(-x - 1 / 3)
    return Problem(mlp([1, width, 1], output_bias=False).double(), x, y, nn.MSELoss())


@pytest.mark.parametrize(
    ("gamma", "prime", "regime"),
    [(0.5, 0.0, "linear"), (1.0, 0.0, "critical"), (2.5, 0.0, "condensed"), (1.5, 1.0, "linear"), (2.0, -0.5, "condensed")],
)
def test_motion_of_own_weights_names_the_predicted_regime(gamma: float, prime: float, regime: str) -> None:
    found = measured_regime(_humps(), gamma, prime, steps=400)
    assert found.predicted == regime
    if regime == "critical":
        assert abs(found.slope) < 0.2 and found.regime in ("critical", "unresolved")
    else:
        assert found.regime == regime


@pytest.mark.parametrize(("gamma", "prime", "regime"), [(0.5, 0.0, "linear"), (1.0, 0.0, "critical"), (3.0, 0.0, "condensed")])
def test_exponents_of_a_start_are_read_back(gamma: float, prime: float, regime: str) -> None:
    """Weights drawn with these exponents in the data's units, at width 400."""
    start, draw = _humps(400), torch.Generator().manual_seed(0)
    size = math.sqrt(float(start.inputs.square().mean()) + 1)
    height = float(start.targets.square().mean().sqrt())
    own = torch.randn(800, generator=draw, dtype=torch.float64) * 400 ** ((prime - gamma) / 2) / size
    out = torch.randn(400, generator=draw, dtype=torch.float64) * 400 ** (-(gamma + prime) / 2) * height
    found = initialization_regime(start.at(torch.cat([own, out])))
    assert abs(found.gamma - gamma) < 0.02 and abs(found.gamma_prime - prime) < 0.02
    assert found.regime == regime and abs(found.margin - (gamma - 1)) < 0.02


def test_the_paper_starts_in_the_condensed_regime_and_torch_in_the_linear_one() -> None:
    wide = steps_problem(500)
    draw = torch.randn(wide.network.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert initialization_regime(wide.at(draw * 500**-1.5)).regime == "condensed"
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 10, generator=generator, dtype=torch.float64)
    usual = Problem(mlp([10, 500, 1]).double(), x, x[:, :1], nn.MSELoss())
    assert initialization_regime(usual).regime == "linear"


def test_one_hidden_layer_is_wanted() -> None:
    x = torch.randn(9, 2)
    with pytest.raises(HypothesisError, match="one hidden layer"):
        initialization_regime(Problem(mlp([2, 3, 3, 1]), x, x[:, :1], nn.MSELoss()))
    with pytest.raises(InputError, match="not all zero"):
        initialization_regime(steps_problem(2, torch.zeros(6, dtype=torch.float64)))
    with pytest.raises(InputError, match="at least 4 widths"):
        measured_regime(_humps(), 1.0, widths=(4, 8, 16))


def test_runs_that_do_not_come_down_leave_the_regime_open() -> None:
    found = measured_regime(_humps(), 2.5, widths=(4, 6, 8, 10), seeds=2, steps=3)
    assert found.regime == "unresolved" and found.status is Status.MAX_STEPS


def test_effective_directions_by_brute_force() -> None:
    for kind in ("dense, first layer", "dense, second layer"):
        problem, layer = built(kind)
        found = condensation(problem)
        column = found.layers.index(layer)
        weight, bias = (problem.network.parameters[f"{layer}.{n}"] for n in ("weight", "bias"))
        reader = problem.network.parameters[f"{int(layer) + 2}.weight"]
        expected = splits.effective_directions(weight, bias, reader, odd=layer == "0")
        assert abs(found.effective[0, column] - expected) < 1e-12
        mine = found.layer == column
        assert abs(found.strength[0, mine].sum() - 1) < 1e-12 and found.alignment[0, mine].max() > 1 - 1e-12


def test_equal_and_orthogonal_units_are_counted_exactly() -> None:
    net = mlp([4, 4, 1], output_bias=False).double()
    x = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = Problem(net, x, x[:, :1], nn.MSELoss())
    zero, one = torch.zeros(4).double(), torch.ones(1, 4).double()
    across = condensation(start.at({"0.weight": torch.eye(4).double(), "0.bias": zero, "2.weight": one}))
    assert abs(across.effective[0, 0] - 4) < 1e-12 and across.counted[0, 0] == 4
    along = condensation(start.at({"0.weight": torch.ones(4, 4).double(), "0.bias": zero, "2.weight": -one}))
    assert abs(along.effective[0, 0] - 1) < 1e-12 and along.counted[0, 0] == 1
    opposite = torch.diag(torch.tensor([1.0, -1, 1, -1])).double() @ torch.ones(4, 4).double()
    both = condensation(start.at({"0.weight": opposite, "0.bias": zero, "2.weight": one}))
    assert abs(both.effective[0, 0] - 2) < 1e-12  # ReLU tells opposite directions apart


def test_a_small_start_condenses() -> None:
    start = steps_problem(40)
    draw = torch.randn(start.network.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = condensation(train(start.at(draw * 40**-1.5), Sgd(lr=0.005, momentum=0.0), steps=400, batch=50, checkpoints=[400]))
    assert found.effective[0, 0] > 1.8 and found.effective[-1, 0] < 1.02 and found.counted[-1, 0] == 1
    assert (found.strength[-1] @ found.alignment[-1]) > 0.99


def _bare(width: int, samples: int = 60) -> Problem:
    """``sum_k a_k tanh(w_k x)`` of three inputs without any bias."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 3, generator=generator, dtype=torch.float64)
    net = nn.Sequential(nn.Linear(3, width, bias=False), nn.Tanh(), nn.Linear(width, 1, bias=False)).double()
    start = Problem(net, x, x[:, :1], nn.MSELoss())
    return start.at(torch.randn(start.network.size, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_rank_is_units_times_inputs_and_one_at_any_width(width: int) -> None:
    """``k (d + 1)``, for the network itself and for its images in wider ones; a parked unit adds one until it is dropped."""
    narrow = _bare(width)
    found = model_rank(narrow)
    assert (found.rank, found.minimal, found.samples) == (4 * width, 4 * width, 4 * width) and found.resolved
    wide = grow(narrow, {"0": 4}).problem
    assert model_rank(wide).rank == 4 * width
    own, out = (wide.network.parameters[name] for name in ("0.weight", "2.weight"))
    away = torch.tensor([[0.3, -1.0, 0.8]], dtype=torch.float64)
    parked = {"0.weight": torch.cat([own, away]), "2.weight": torch.cat([out, torch.zeros(1, 1).double()], dim=1)}
    generic = grow(wide, {"0": 1}).problem.at(parked)
    found = model_rank(generic)
    assert found.rank == 4 * width + 1 and found.minimal == 4 * width


@pytest.mark.parametrize("samples", [7, 8, 9])
def test_optimistic_sample_size_is_where_the_rank_saturates(samples: int) -> None:
    """Two units of three inputs: eight samples see all of the rank, seven do not."""
    found = model_rank(_bare(2, samples))
    assert found.rank == min(samples, 8) and found.limited == (samples <= 8)
    assert found.status is (Status.UNRESOLVED if samples <= 8 else Status.EXACT)


def test_convolution_counts_its_kernel() -> None:
    """One input channel, kernel of 3, summed positions, no bias: ``k (3 + 1)``, also after splitting a channel."""

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv1d(1, 2, 3, bias=False), nn.Linear(2, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.tanh(self.conv(x)).sum(2))

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 1, 7, generator=generator, dtype=torch.float64)
    narrow = Problem(Summed().double(), x, x[:, 0, :1], nn.MSELoss())
    narrow = narrow.at(torch.randn(narrow.network.size, generator=generator, dtype=torch.float64))
    assert model_rank(narrow).rank == 8
    wide = grow(narrow, Growth("conv", {0: (0.3, 0.7)})).problem
    found = model_rank(wide)
    assert found.rank == found.minimal == 8 and found.widths == ["conv: 3 -> 2"]


def test_more_inputs_may_be_given_for_the_rank() -> None:
    few, many = _bare(2, 5), _bare(2)
    assert model_rank(few).limited and model_rank(few, inputs=many.inputs).rank == 8
    with pytest.raises(InputError, match="none were given"):
        model_rank(few, inputs=many.inputs[:0])


def test_no_layer_to_condense() -> None:
    x = torch.randn(8, 3)
    with pytest.raises(UnsupportedLayer, match="has none"):
        condensation(Problem(nn.Linear(3, 2), x, x[:, :2], nn.MSELoss()))
    with pytest.raises(InputError, match="list of steps is empty"):
        condensation(train(steps_problem(2), Sgd(lr=0.001), steps=1), steps=[])
