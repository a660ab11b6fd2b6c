"""Growing keeps outputs, gradients and training; shrinking undoes it; what cannot be done is refused by name."""

import copy

import pytest
import torch
from torch import nn

from isthmus._core.errors import HypothesisError, InputError, ModelError, UnsupportedLayer
from isthmus.embedding import Growth, escape, grow, plant, predict_inertia, shrink, unit_curvature
from isthmus.model.derivatives import loss_gradient
from isthmus.model.problem import Problem
from tests.embedding.fixtures import WIDTH_2, flat, steps_problem
from tests.embedding.networks import KINDS, seeded
from tests.embedding.networks import problem as built


def _sorted_units(problem: Problem, names: list[str]) -> torch.Tensor:
    rows = torch.cat(
        [
            problem.network.parameters[n].flatten(1) if n.endswith("weight") else problem.network.parameters[n][:, None]
            for n in names
        ],
        dim=1,
    )
    return rows[rows[:, 0].argsort()]


@pytest.mark.parametrize("kind", KINDS)
def test_shrink_undoes_grow(kind: str) -> None:
    narrow, layer = built(kind)
    wide = grow(narrow, {layer: 3}, alpha=-0.4)
    assert wide.difference < 1e-13 and sum(g.added for g in wide.growths) == 3
    back = shrink(wide.problem, [layer])
    assert back.exact and back.difference < 1e-12
    assert back.widths[layer][1] == back.widths[layer][0] - 3
    assert {k: v.shape for k, v in back.problem.network.parameters.items()} == {
        k: v.shape for k, v in narrow.network.parameters.items()
    }
    assert abs(float(loss_gradient(back.problem).norm() - loss_gradient(narrow).norm())) < 1e-12


def test_clones_of_two_layers_and_of_clones_are_all_found() -> None:
    narrow, _ = built("dense, first layer")
    wide = grow(grow(narrow, {"0": 2, "2": 3}, alpha=0.3).problem, {"2": 2, "0": 1}, alpha=1.7).problem
    back = shrink(wide)
    assert back.exact and back.widths == {"0": (6, 3), "2": (9, 4)}
    names = ["0.weight", "0.bias"]
    torch.testing.assert_close(_sorted_units(back.problem, names), _sorted_units(narrow, names))


def test_gradient_of_the_wide_network_is_the_constant_map() -> None:
    """Clone and original share the own gradient by alpha; both outgoing gradients are the narrow one."""
    narrow, _ = built("dense, first layer")
    wide = grow(narrow, Growth("0", {1: (0.7, 0.3)})).problem
    small = narrow.network.layout.unflatten(loss_gradient(narrow))
    big = wide.network.layout.unflatten(loss_gradient(wide))
    torch.testing.assert_close(big["0.weight"][1], 0.7 * small["0.weight"][1])
    torch.testing.assert_close(big["0.weight"][3], 0.3 * small["0.weight"][1])
    torch.testing.assert_close(big["2.weight"][:, 3], small["2.weight"][:, 1])


def _trained(module: nn.Module, x: torch.Tensor, y: torch.Tensor, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimizer_goes_on_where_it_stood(kind: str) -> None:
    """An equal clone of a unit with doubled outgoing learning rate and halved own one: here, one step compared directly."""
    narrow, _ = built("dense, first layer")
    module, (x, y) = narrow.network.module.train(), (narrow.inputs, narrow.targets)
    optimizer = (
        torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9) if kind == "sgd" else torch.optim.Adam(module.parameters())
    )
    _trained(module, x, y, optimizer, 7)
    grown = grow(module, "0", units=[1], alpha=0.3, inputs=x, optimizer=optimizer)
    state = grown.optimizer.state
    first, second = grown.module[0].weight, grown.module[2].weight
    old_first, old_second = optimizer.state[module[0].weight], optimizer.state[module[2].weight]
    slot, power = ("momentum_buffer", 1) if kind == "sgd" else ("exp_avg_sq", 2)
    torch.testing.assert_close(state[first][slot][3], 0.3**power * old_first[slot][1])
    torch.testing.assert_close(state[first][slot][1], 0.7**power * old_first[slot][1])
    torch.testing.assert_close(state[second][slot][:, 3], old_second[slot][:, 1])
    assert grown.optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    _trained(grown.module, x, y, grown.optimizer, 3)


def test_equal_clones_train_like_the_narrow_network_at_scaled_rates() -> None:
    """SGD from an equal split: own parameters move as at lr / 2 (scaled back), outgoing ones as at 2 lr."""
    x = torch.linspace(-2, 2, 20, dtype=torch.float64)[:, None]
    y = torch.sin(2 * x)
    module = seeded(lambda: nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1, bias=False)))
    wide = grow(module, "0", inputs=x, alpha=0.5).module
    small = copy.deepcopy(module)
    optimizer = torch.optim.SGD([{"params": small[0].parameters(), "lr": 0.025}, {"params": small[2].parameters(), "lr": 0.1}])
    _trained(small, x, y, optimizer, 300)
    _trained(wide, x, y, torch.optim.SGD(wide.parameters(), lr=0.05), 300)
    torch.testing.assert_close(wide(x), small(x), rtol=0, atol=1e-12)
    assert torch.equal(wide[0].weight[0], wide[0].weight[1])


def test_sign_and_scale_equivalents_constants_and_dead_units() -> None:
    net = seeded(lambda: nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)))
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        net[0].weight[1], net[0].bias[1] = -net[0].weight[0], -net[0].bias[0]
        net[0].weight[2] = 0
        net[2].weight[0, 3] = 0
    found = shrink(Problem(net, x, net(x).detach(), nn.MSELoss()))
    assert {m.kind for m in found.merges} == {"anti-clone", "constant", "zero output"}
    assert found.exact and found.widths == {"0": (5, 2)}
    relu = seeded(lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    with torch.no_grad():
        relu[0].weight[1], relu[0].bias[1] = 2.5 * relu[0].weight[0], 2.5 * relu[0].bias[0]
    found = shrink(Problem(relu, x, relu(x).detach(), nn.MSELoss()))
    assert [m.kind for m in found.merges] == ["scaled clone"] and found.exact


def test_approximate_clones_are_refitted() -> None:
    net = seeded(lambda: nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)))
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.2], [1.02, 0.21], [0.1, -1.0], [-0.8, 0.9]]))
        net[0].bias.copy_(torch.tensor([0.5, 0.49, -0.2, 0.1]))
        net[2].weight.copy_(torch.tensor([[1.0, -0.7, 0.8, -0.6]]))
    wide = Problem(net, x, net(x).detach(), nn.MSELoss())
    assert not shrink(wide, tolerance=1e-6).merges
    found = shrink(wide, tolerance=0.1)
    assert found.widths == {"0": (4, 3)} and not found.exact
    assert found.difference < 0.02 and found.loss_after < 1e-4


def test_the_users_module_stays_as_it_was() -> None:
    narrow, layer = built("conv with batch norm")
    module = copy.deepcopy(narrow.network.module).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    grow(module.eval(), layer, inputs=narrow.inputs)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module[0].out_channels == 3 and all(p.grad is None for p in module.parameters())


def test_grown_module_is_the_users_class_with_new_widths() -> None:
    narrow, layer = built("attention head")
    module = grow(narrow, layer).module
    assert type(module).__name__ == "Attention" and module.heads == 3 and module.q.out_features == 6
    conv = grow(*built("conv with batch norm")).module
    assert conv[0].out_channels == 4 and conv[1].num_features == 4 and conv[3].in_channels == 4


class _Streams(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.inner, self.head = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x)
        return self.head(h + self.inner(torch.tanh(self.norm(h))))


def _refusals() -> list[tuple[nn.Module, tuple[int, ...], str, str]]:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    tied[2].weight = tied[0].weight
    grouped = nn.Sequential(nn.Conv1d(2, 4, 1), nn.GELU(), nn.Conv1d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(8, 2))
    norm = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 2))
    return [
        (_Streams(), (4,), "embed stream", "norm"),
        (tied, (4,), "0", "used more than once|both computes|no exchangeable"),
        (grouped, (2, 2), "0", "grouped|no exchangeable"),
        (norm, (4,), "0", "norm"),
    ]


@pytest.mark.parametrize(("module", "shape", "layer", "words"), _refusals())
def test_units_that_do_not_stand_alone_are_refused_by_name(module: nn.Module, shape: tuple, layer: str, words: str) -> None:
    x = torch.randn(5, *shape)
    with pytest.raises(UnsupportedLayer, match=words):
        grow(module.eval(), layer, inputs=x)


class _Branching(nn.Module):
    """A forward pass that looks at its data."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.first(x))
        return self.last(h if h.detach().sum() > 0 else -h)


@pytest.mark.parametrize(
    "ask", [lambda p: grow(p, "first"), shrink, unit_curvature, lambda p: predict_inertia(p, Growth("first", {0: (0.5, 0.5)}))]
)
def test_a_module_that_cannot_be_traced_is_refused(ask: object) -> None:
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with pytest.raises(ModelError, match="branches on tensor values"):
        ask(Problem(seeded(_Branching), x, x[:, :2], nn.MSELoss()))


def test_bad_input_says_what_to_write() -> None:
    narrow, layer = built("dense, first layer")
    with pytest.raises(UnsupportedLayer, match="Layers whose units"):
        grow(narrow, "nowhere")
    with pytest.raises(InputError, match="pass a Problem, or inputs="):
        grow(narrow.network.module, layer)
    with pytest.raises(InputError, match="no unit 9"):
        grow(narrow, Growth(layer, {9: (0.5, 0.5)}))
    with pytest.raises(InputError, match="add up to 1"):
        Growth(layer, {0: (0.5, 0.6)})
    with pytest.raises(InputError, match="at least one unit"):
        grow(narrow, {layer: 0})
    with pytest.raises(InputError, match="2 units are to be added"):
        grow(narrow, {layer: 2}, units=[0])
    with pytest.raises(InputError, match="relative distance"):
        shrink(narrow, tolerance=1.5)
    with pytest.raises(HypothesisError, match="Polish first"):
        escape(narrow)
    with pytest.raises(HypothesisError, match="no residual is orthogonal"):
        plant(narrow)
    with pytest.raises(UnsupportedLayer, match="Layers that can"):
        unit_curvature(narrow, layers=["nowhere"])
    with pytest.raises(InputError, match="only have alpha=0"):
        bare = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh(), nn.Linear(2, 1)).double()
        grow(bare, "0", how="null", alpha=1.0, inputs=torch.randn(4, 2).double())
    with pytest.raises(UnsupportedLayer, match="with a norm"):
        grow(*built("conv with batch norm"), how="null")


def test_not_critical_point_is_said_so() -> None:
    found = predict_inertia(steps_problem(2, flat(WIDTH_2) + 0.1), Growth("0", {0: (0.5, 0.5)}))
    assert found.label == "undecided" and "not critical" in found.reason


def test_width_1_is_grown_and_left_alone() -> None:
    one = steps_problem(1)
    grown = grow(one, {"0": 2})
    assert grown.network.parameters["0.weight"].shape == (3, 1)
    assert shrink(grown.problem).widths == {"0": (3, 1)}


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_shrinking_gives_the_optimizer_state_of_the_narrow_network_back(kind: str) -> None:
    """Grow with the optimizer, shrink with it: first and second moments are the narrow ones, negative shares included."""
    narrow, _ = built("dense, first layer")
    module, (x, y) = narrow.network.module.train(), (narrow.inputs, narrow.targets)
    made = torch.optim.SGD if kind == "sgd" else torch.optim.Adam
    optimizer = made(module.parameters(), **({"lr": 0.05, "momentum": 0.9} if kind == "sgd" else {}))
    _trained(module, x, y, optimizer, 5)
    steps = [Growth("0", {1: (0.4, 1.1, -0.5)}), Growth("2", {0: (0.3, 0.7), 3: (0.5, 0.5)})]
    wide = grow(module, steps, inputs=x, optimizer=optimizer)
    back = shrink(Problem(wide.module, x, y, nn.MSELoss()), trained=(wide.module, wide.optimizer))
    assert back.exact and back.widths == {"0": (5, 3), "2": (6, 4)}
    ours, theirs = dict(back.module.named_parameters()), dict(module.named_parameters())
    orders = {layer: _order(ours, theirs, layer) for layer in ("0", "2")} | {"4": torch.arange(2), "-2": torch.arange(5)}
    for name, parameter in ours.items():
        layer = name.split(".")[0]
        rows, columns = orders[layer], orders[str(int(layer) - 2)]
        for slot, value in optimizer.state[theirs[name]].items():
            moved = value if value.ndim == 0 else value[rows] if value.ndim == 1 else value[rows][:, columns]
            torch.testing.assert_close(back.optimizer.state[parameter][slot], moved, rtol=1e-9, atol=1e-12)
    _trained(back.module, x, y, back.optimizer, 3)


def _order(mine: dict, theirs: dict, layer: str) -> torch.Tensor:
    """Which old unit each unit of a layer is, by its bias."""
    return (mine[f"{layer}.bias"][:, None] - theirs[f"{layer}.bias"][None, :]).abs().argmin(1)


def test_an_optimizer_of_another_state_is_refused() -> None:
    narrow, _ = built("dense, first layer")
    other = copy.deepcopy(narrow.network.module)
    with torch.no_grad():
        other[0].bias += 1
    with pytest.raises(InputError, match="as it stands now"):
        shrink(narrow, trained=(other, torch.optim.SGD(other.parameters(), lr=0.1)))
