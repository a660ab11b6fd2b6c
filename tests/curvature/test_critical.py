"""Polish and certify against the numbers of critical points found elsewhere, and against closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import BudgetError, InputError, NumericalError
from isthmus._core.status import Status
from isthmus.curvature import certify, count_inertia, dense_hessian, hessian_spectrum, polish, polish_points
from isthmus.model.populations import Population
from isthmus.model.problem import Problem
from isthmus.results.critical import Certificate, Inertia
from tests.embedding.fixtures import SADDLE_2_LOSS, WIDTH_1, WIDTH_1_LOSS, WIDTH_2, WIDTH_2_LOSS, ZERO_LOSS, flat, steps_problem
from tests.model.networks import build
from tests.reference.derivatives import finite_difference_hessian_product


def test_zero_function_has_the_known_loss() -> None:
    problem = steps_problem(1, torch.zeros(3, dtype=torch.float64))
    assert abs(float(Population(problem).losses(torch.zeros(1, 3, dtype=torch.float64))) - ZERO_LOSS) < 1e-11


def test_width_1_optimum() -> None:
    found = polish(steps_problem(1, flat(WIDTH_1) + 0.01))
    assert found.status is Status.CONVERGED and found.gradient_norm < 1e-13
    assert abs(found.loss - WIDTH_1_LOSS) < 1e-12
    record = certify(found.problem)
    assert record.inertia == Inertia(0, 0, 3) and record.label == "strict minimum"
    np.testing.assert_allclose(record.values, [0.0629494389, 13.3515521, 458.372324], rtol=1e-8)


def test_width_2_minimum_and_its_mirror() -> None:
    mirror = [(w, -b, a) for w, b, a in WIDTH_2]
    for units in (WIDTH_2, mirror):
        found = polish(steps_problem(2, flat(units)))
        assert abs(found.loss - WIDTH_2_LOSS) < 1e-12 and found.gradient_norm < 1e-13
        assert certify(found.problem).inertia == Inertia(0, 0, 6)


@pytest.mark.parametrize("alpha", [-1.0, 0.25, 0.5, 2.0])
def test_split_of_width_1_is_a_strict_saddle(alpha: float) -> None:
    w, b, a = polish(steps_problem(1, flat(WIDTH_1))).problem.network.flat.tolist()
    record = certify(steps_problem(2, flat([(w, b, (1 - alpha) * a), (w, b, alpha * a)])))
    assert record.inertia == Inertia(1, 1, 4) and record.label == "strict saddle"


def test_parked_clone_is_no_minimum_although_its_hessian_is_semidefinite() -> None:
    w, b, a = polish(steps_problem(1, flat(WIDTH_1))).problem.network.flat.tolist()
    record = certify(steps_problem(2, flat([(w, b, a), (w, b, 0.0)])))
    assert record.inertia == Inertia(0, 3, 3)
    assert record.label == "higher-order saddle" and record.flat_change[0] < 0


def test_flat_direction_of_a_linear_network() -> None:
    """f = a w x has the critical curve a w = constant: a minimum with one flat direction."""
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    found = polish(Problem(net, x, 2 * x, nn.MSELoss()).at(torch.tensor([1.3, 1.4], dtype=torch.float64)), toward="minimum")
    record = certify(found.problem)
    assert record.inertia == Inertia(0, 1, 1) and record.label == "minimum with flat directions"


def test_random_starts_reach_minima_and_saddles() -> None:
    generator = torch.Generator().manual_seed(0)
    starts = torch.randn(60, 6, generator=generator, dtype=torch.float64) * torch.tensor([0.6, 0.6, 3, 3, 2, 2])
    problem = steps_problem(2)
    low = polish_points(problem, starts, toward="minimum", bound=60.0)
    near = polish_points(problem, starts, toward="critical", bound=60.0)
    assert bool(((low.losses[low.converged] - WIDTH_2_LOSS).abs() < 1e-10).any())
    assert bool(((near.losses[near.converged] - SADDLE_2_LOSS).abs() < 1e-10).any())
    for found in (low, near):
        norms = Population(problem).gradients(found.points)[1].norm(dim=1)
        torch.testing.assert_close(norms, found.gradient_norms, rtol=0.5, atol=1e-13)


def test_cross_entropy_descends_by_saddle_free_newton() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    labels = (x[:, 0] + 0.7 * torch.randn(30, generator=generator, dtype=torch.float64) > 0).long()
    problem = Problem(nn.Linear(2, 2).double(), x, labels, nn.CrossEntropyLoss())
    found = polish(problem, toward="minimum")
    record = certify(found.problem)
    assert found.gradient_norm < 1e-13
    assert record.inertia == Inertia(0, 3, 3) and record.label == "minimum with flat directions"


@pytest.mark.parametrize("name", ["mlp", "cnn with batch norm", "residual with layer norm", "transformer encoder", "lstm"])
def test_population_agrees_with_finite_differences(name: str) -> None:
    module, inputs, labels = build(name)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss())
    point = problem.network.flat
    direction = torch.randn(len(point), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    population = Population(problem)
    _, gradients = population.gradients(torch.stack([point + 1e-5 * direction, point - 1e-5 * direction]))
    slope = (gradients[0] - gradients[1]) / 2e-5
    exact = finite_difference_hessian_product(module, inputs, labels, nn.CrossEntropyLoss(), direction)
    torch.testing.assert_close(slope, exact, rtol=1e-5, atol=1e-7)
    if len(point) < 250:
        _, _, hessians = population.hessians(torch.stack([point, point * 1.1]))
        torch.testing.assert_close(hessians[0] @ direction, exact, rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(hessians[1], dense_hessian(problem.at(point * 1.1)), rtol=1e-9, atol=1e-12)


def test_residuals_square_to_the_loss() -> None:
    problem = steps_problem(2, flat(WIDTH_2))
    points = torch.stack([problem.network.flat, problem.network.flat + 0.3])
    r, jac = Population(problem).residuals(points)
    losses, gradients = Population(problem).gradients(points)
    torch.testing.assert_close(r.square().sum(1), losses)
    torch.testing.assert_close(2 * (jac.mT @ r[..., None])[..., 0], gradients)


def test_inertia_wants_a_gap() -> None:
    clear = count_inertia(np.array([-1.0, 1e-17, 2.0, 3.0]))
    assert clear.inertia == Inertia(1, 1, 2) and clear.resolved
    assert not count_inertia(np.array([-1.0, 1.4e-13, 2.0])).resolved
    assert not count_inertia(np.array([-1.0, 1e-6, 2.0]), uncertainty=1e-5).resolved
    assert count_inertia(np.array([-1.0, 1e-6, 2.0]), uncertainty=1e-8).inertia == Inertia(1, 0, 2)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("exponent", np.arange(-17, -5, 0.25))
def test_one_cut_off_decides_and_its_neighborhood_is_unresolved(exponent: float, sign: int) -> None:
    """Between a tenth and ten times the cut-off nothing is decided; below it is a zero, above an eigenvalue of its own sign."""
    small = sign * 10.0**exponent
    count = count_inertia(np.array([-2.0, small, 1.0, 3.0]), cutoff=1e-11)
    ratio = abs(small) / count.cutoff
    assert count.cutoff == pytest.approx(3e-11)
    assert count.resolved == (not 0.1 < ratio < 10)
    if count.resolved:
        assert count.inertia == (Inertia(1, 1, 2) if ratio < 1 else Inertia(1 + (sign < 0), 0, 2 + (sign > 0)))


def test_a_continuum_through_the_cut_off_is_unresolved_and_values_that_are_no_numbers_an_error() -> None:
    assert not count_inertia(np.geomspace(1e-18, 1, 200)).resolved
    with pytest.raises(NumericalError, match="not finite"):
        count_inertia(np.array([1.0, np.nan]))
    zero = count_inertia(np.zeros(5))
    assert (zero.inertia, zero.resolved) == (Inertia(0, 5, 0), True)


def test_unpolished_point_is_not_called_critical() -> None:
    record = certify(steps_problem(1, flat(WIDTH_1) + 0.01))
    assert record.label == "not critical" and np.isnan(record.uncertainty)


def test_almost_converged_degenerate_point_is_unresolved() -> None:
    w, b, a = polish(steps_problem(1, flat(WIDTH_1))).problem.network.flat.tolist()
    point = flat([(w, b, a / 2), (w, b, a / 2)]) + 1e-7 * torch.tensor([1.0, -2, 3, 1, -1, 2], dtype=torch.float64)
    record = certify(steps_problem(2, point), tolerance=1e-3)
    assert record.label == "unresolved" and record.status is Status.UNRESOLVED


def test_spectrum_record_survives_its_file(tmp_path: object) -> None:
    record = certify(polish(steps_problem(1, flat(WIDTH_1))).problem)
    path = f"{tmp_path}/c.safetensors"
    record.save(path)
    assert Certificate.load(path).same_numbers(record)
    assert hessian_spectrum(steps_problem(1, flat(WIDTH_1))).inertia == Inertia(0, 0, 3)


def test_refusals_name_the_way_out() -> None:
    wide = Problem(nn.Linear(50, 50).double(), torch.randn(4, 50).double(), torch.randn(4, 50).double(), nn.MSELoss())
    with pytest.raises(BudgetError, match="at most 2000"):
        polish(wide)
    with pytest.raises(InputError, match="'critical' or 'minimum'"):
        polish(steps_problem(1), toward="nowhere")
