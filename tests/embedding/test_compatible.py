"""General compatible embeddings: outputs, the constant gradient map, inertia, and what breaks them."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus.curvature import count_inertia, dense_hessian
from isthmus.embedding import Compatible, Growth, grow, plant, predict_inertia
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from isthmus.model.zoo import mlp
from tests.embedding.networks import KINDS, seeded
from tests.embedding.networks import problem as built

_NULLS = Compatible(
    {"0": (0, 1, 2, 0, 1, -1), "2": (0, 1, 2, 2, -1)},
    shares={"0": (0.3, 1.4, 1.0, 0.7, -0.4, 0.0), "2": (1.0, 1.0, -0.2, 1.2, 0.0)},
    biases={"0": (0.7,), "2": (-0.4,)},
)


def _net(point: torch.Tensor | None = None) -> Problem:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(20, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    start = Problem(mlp([2, 3, 3, 2], "tanh").double(), x, y, nn.MSELoss())
    return start if point is None else start.at(point)


def _points(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_null_and_copied_units_of_two_layers_have_one_constant_gradient_map() -> None:
    """2-3-3-2 with clones and null units in both layers: outputs equal, and ``g_wide = B g`` with B the same at 44 points."""
    points = _points(44, 29)
    narrow, wide = [], []
    for point in points:
        small = _net(point)
        grown = grow(small, _NULLS)
        assert grown.difference < 1e-13 and grown.critical
        narrow.append(loss_gradient(small))
        wide.append(loss_gradient(grown.problem))
    small, large = torch.stack(narrow), torch.stack(wide)
    fitted = torch.linalg.lstsq(small[:30], large[:30]).solution
    assert float((small @ fitted - large).abs().max()) < 1e-11 * float(fitted.abs().max() * small.abs().max())


def test_the_map_of_parameters_is_injective_and_affine() -> None:
    origin, images = torch.zeros(29, dtype=torch.float64), []
    generic = _net(_points(1, 29)[0])
    still = Compatible(_NULLS.origins, _NULLS.shares, _NULLS.biases, spread=0.0)
    base = grow(generic.at(origin), still).network.flat
    for k in range(29):
        step = origin.clone()
        step[k] = 1
        images.append(grow(generic.at(step), still).network.flat - base)
    matrix = torch.stack(images, dim=1)
    assert int(torch.linalg.matrix_rank(matrix)) == 29
    point = _points(1, 29)[0]
    torch.testing.assert_close(grow(generic.at(point), still).network.flat, base + matrix @ point, rtol=0, atol=1e-12)


def test_mixing_obeys_both_conditions_entry_by_entry() -> None:
    """Rows over the copies of one unit add up to one, columns weighted by the shares give the shares below."""
    small = _net(_points(1, 29)[0])
    plan = Compatible({"0": (0, 0, 1, 2, 0), "2": (0, 1, 1, 2)}, {"0": (0.2, 0.5, 1.0, 1.0, 0.3), "2": (1.0, -0.5, 1.5, 1.0)})
    wide = grow(small, plan).network.parameters["2.weight"]
    ratio = wide / small.network.parameters["2.weight"][list(plan.origins["2"])][:, list(plan.origins["0"])]
    lower, upper = np.array(plan.origins["0"]), np.array(plan.origins["2"])
    for i in range(4):
        for s in range(3):
            assert abs(float(ratio[i, lower == s].sum()) - 1) < 1e-12
    for j in range(5):
        for k in range(3):
            above = sum(plan.shares["2"][i] * float(ratio[i, j]) for i in range(4) if upper[i] == k)
            assert abs(above - plan.shares["0"][j]) < 1e-12
    assert float((ratio[1] - ratio[2]).abs().max()) > 0.1  # the mixing is no plain split


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("grown", "zeros"), [((1, 0), 1), ((0, 1), 1), ((1, 1), 3)])
def test_nullity_grows_by_the_degrees_of_freedom(grown: tuple[int, int], zeros: int, seed: int) -> None:
    """``K_1 + K_2 + K_1 K_2`` for planted 2-1-1-2 points; no count of the inertia ever falls."""
    generator = torch.Generator().manual_seed(seed)
    x = 1.5 * torch.randn(24, 2, generator=generator, dtype=torch.float64)
    start = Problem(mlp([2, 1, 1, 2], "tanh").double(), x, torch.zeros(24, 2).double(), nn.MSELoss())
    point = plant(start.at(1.2 * torch.randn(start.network.size, generator=generator, dtype=torch.float64)), size=2.0, seed=seed)
    wide = grow(point, {name: k for name, k in zip(("0", "2"), grown, strict=True) if k}, how="compatible", seed=seed).problem
    assert float(loss_gradient(wide).norm()) < 1e-13
    values = [torch.linalg.eigvalsh(dense_hessian(p)).numpy() for p in (point, wide)]
    scale = max(float(np.abs(v).max()) for v in values)
    small, large = (count_inertia(v, scale=scale) for v in values)
    assert small.resolved and large.resolved
    assert large.inertia.zero - small.inertia.zero == zeros
    assert large.inertia.negative >= small.inertia.negative and large.inertia.positive >= small.inertia.positive


_CHAIN = {
    "conv": ("0", "2"),
    "conv with batch norm": ("0", "3"),
    "dense, first layer": ("0", "2"),
    "attention head": ("q heads",),
    "gated unit": ("gate",),
}


@pytest.mark.parametrize("kind", _CHAIN)
def test_every_kind_of_unit(kind: str) -> None:
    """Gradients map by the shares: own entries of a copy beta times the old ones, outgoing entries repeated."""
    narrow, _ = built(kind)
    grown = grow(narrow, dict.fromkeys(_CHAIN[kind], 2), how="compatible", seed=3)
    assert grown.difference < 1e-12
    plan = grown.growths[0]
    group_share = dict(zip(plan.layers, (plan.share(name) for name in plan.layers), strict=True))
    old, new = (p.network.layout.unflatten(loss_gradient(p)) for p in (narrow, grown.problem))
    first = {"attention head": "v.weight", "gated unit": "up.weight"}.get(kind, "0.weight")
    layer = plan.layers[0]
    size = len(plan.origins[layer])
    rows = new[first].reshape(size, -1)
    expected = old[first].reshape(max(plan.origins[layer]) + 1, -1)[list(plan.origins[layer])]
    torch.testing.assert_close(
        rows, torch.tensor(group_share[layer], dtype=torch.float64)[:, None] * expected, rtol=1e-10, atol=1e-12
    )


def test_optimizer_goes_on_through_a_compatible_embedding() -> None:
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)))
    x = torch.randn(10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module(x).square().mean().backward()
    optimizer.step()
    plan = Compatible({"0": (0, 1, 1), "2": (1, 0, 0)}, {"2": (1.0, 0.25, 0.75)})
    grown = grow(module, plan, inputs=x, optimizer=optimizer)
    mine, old = grown.optimizer.state[grown.module[2].weight], optimizer.state[module[2].weight]
    expected = torch.tensor([1.0, 0.25, 0.75], dtype=torch.float64)[:, None] * old["momentum_buffer"][[1, 0, 0]][:, [0, 1, 1]]
    torch.testing.assert_close(mine["momentum_buffer"], expected)


def test_breaking_the_backward_condition_breaks_criticality() -> None:
    """Control: weights that keep the outputs but not the errors leave a planted point."""
    generator = torch.Generator().manual_seed(0)
    x = 1.5 * torch.randn(24, 2, generator=generator, dtype=torch.float64)
    start = Problem(mlp([2, 1, 2, 2], "tanh", seed=1).double(), x, torch.zeros(24, 2).double(), nn.MSELoss())
    wide = grow(plant(start, size=1.0), {"0": 1}, how="compatible").problem
    broken = dict(wide.network.parameters)
    broken["2.weight"] = broken["2.weight"] + torch.tensor([[0.3, -0.3], [0.0, 0.0]]).double()
    moved = wide.at(broken)
    torch.testing.assert_close(moved.network(x), wide.network(x), rtol=0, atol=1e-13)
    assert float(loss_gradient(wide).norm()) < 1e-13 < 1e-6 < float(loss_gradient(moved).norm())


def test_bad_input() -> None:
    small = _net()
    with pytest.raises(InputError, match=r"add up to 1\.5"):
        Compatible({"0": (0, 0, 1, 2)}, {"0": (0.5, 1.0, 1.0, 1.0)})
    with pytest.raises(InputError, match="0 at null units"):
        Compatible({"0": (0, -1)}, {"0": (1.0, 0.5)})
    with pytest.raises(InputError, match="one each is needed"):
        Compatible({"0": (0, 1, 2, -1)}, biases={"0": (1.0, 2.0)})
    with pytest.raises(InputError, match="at least one layer"):
        Compatible({})
    with pytest.raises(InputError, match="copied at least once"):
        grow(small, Compatible({"0": (0, 0, 1)}))
    with pytest.raises(InputError, match="draws its own shares"):
        grow(small, {"0": 1}, how="compatible", alpha=0.3)
    with pytest.raises(UnsupportedLayer, match="with a norm"):
        grow(built("conv with batch norm")[0], Compatible({"0": (0, 1, 2, -1)}))
    with pytest.raises(InputError, match="write 'split', 'null' or 'compatible'"):
        grow(small, "0", how="clone")


def test_a_null_unit_without_a_next_bias_is_flagged() -> None:
    x = torch.randn(9, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bare = Problem(mlp([2, 2, 1], "tanh", output_bias=False).double(), x, x[:, :1], nn.MSELoss())
    assert not grow(bare, Compatible({"0": (0, 1, -1)}, biases={"0": (0.7,)})).critical
    assert grow(bare, Compatible({"0": (0, 1, -1)})).critical


def test_kinds_are_all_covered() -> None:
    assert {kind.split(",")[0].removesuffix(" before flatten") for kind in KINDS} == {kind.split(",")[0] for kind in _CHAIN}


def test_two_steps_are_predicted_as_one() -> None:
    """A clone of a clone: the counts of the composed growth are those of the wide network."""
    narrow, _ = built("dense, first layer")
    steps = [Growth("0", {0: (0.4, 0.6)}), Growth("0", {3: (1.5, -0.5), 1: (0.5, 0.5)})]
    wide = grow(narrow, steps).problem
    values = torch.linalg.eigvalsh(dense_hessian(wide)).numpy()
    assert predict_inertia(narrow, steps).wide == count_inertia(values).inertia
