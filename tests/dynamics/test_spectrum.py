import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from isthmus._core.errors import HypothesisError, InputError
from isthmus.dynamics import spectrum
from isthmus.results.dynamics import Spectrum
from tests.dynamics.problems import HalfSum, classification, dense_jacobian, regression, wide
from tests.reference.dynamics import first_layer_gram, r20


def test_squared_error_against_a_dense_jacobian():
    problem = regression()
    found, jacobian = spectrum(problem), dense_jacobian(problem)
    factor = 2 / 20
    values = np.linalg.eigvalsh(factor * jacobian @ jacobian.T)[::-1]
    assert np.abs(found.values - values).max() < 1e-7 * values[0]
    error = (problem.network(problem.inputs) - problem.targets).reshape(-1).numpy()
    assert np.abs(found.scaled_error - factor**0.5 * error).max() < 1e-14
    assert np.abs(found.vectors @ found.coefficients - found.scaled_error).max() < 1e-13
    assert 0.5 * found.coefficients @ found.coefficients == pytest.approx(found.loss, rel=1e-12)
    assert found.offset == 0.0 and found.quadratic and found.zero_modes == 0
    assert found.condition == pytest.approx(values[0] / values[-1], rel=1e-4)


def test_cross_entropy_modes_are_those_of_the_gauss_newton_matrix():
    problem = classification()
    found = spectrum(problem)
    ggn = isthmus.hessian_eigenvalues(problem, 20, matrix="ggn", rtol=1e-10)
    assert np.abs(found.values[:20] - ggn.values).max() < 1e-8 * ggn.values[0]
    assert found.flat_modes == 15 and found.zero_modes == 15 and found.smallest > 0 and found.causes == []
    outputs = problem.network(problem.inputs)
    slope = (torch.softmax(outputs, 1) - nn.functional.one_hot(problem.targets, 3)) / 15
    pulled = torch.autograd.functional.jacobian(lambda f: nn.functional.cross_entropy(f, problem.targets), outputs)
    assert (slope - pulled).abs().max() < 1e-15
    gradient = isthmus.model.derivatives.loss_gradient(problem)
    # |gradient|^2 = sum lambda_i z_i^2: the error's projections weigh the modes as the loss does
    assert (found.values * found.coefficients**2).sum() == pytest.approx(float(gradient @ gradient), rel=1e-9)


def test_infinite_width_kernel_of_the_theory():
    gram = first_layer_gram(r20()[0])
    values = np.linalg.eigvalsh(gram)
    # the note's digits carry the 1e-9 of an arccos near 1
    assert values[0] == pytest.approx(0.1220124038, abs=3e-9) and values[-1] == pytest.approx(1.4121809102, abs=3e-9)


def test_lanczos_and_its_bucket_agree_with_the_full_decomposition():
    problem = classification()
    full, part = spectrum(problem), spectrum(problem, modes=6, rtol=1e-9)
    assert np.abs(part.values - full.values[:6]).max() < 1e-9
    assert not part.complete and np.isnan(part.smallest)
    assert part.bucket_norm == pytest.approx(np.linalg.norm(full.coefficients[6:]), rel=1e-6)
    want = (full.values[6:] * full.coefficients[6:] ** 2).sum() / (full.coefficients[6:] ** 2).sum()
    assert part.bucket_value == pytest.approx(want, rel=1e-4)
    assert part.bucket_bounds[1] >= full.values[6]


def test_duplicates_with_other_targets_leave_a_floor():
    x, y = r20()
    x, y = np.concatenate([x, x[:3]]), np.concatenate([y, np.ones(3)])
    problem = wide(4096)
    problem = isthmus.Problem(problem.network, torch.tensor(x), torch.tensor(y[:, None]), HalfSum())
    found = spectrum(problem)
    assert found.zero_modes == 3 and found.smallest == 0.0
    assert found.floor == pytest.approx(0.25 * ((y[:3] - 1) ** 2).sum(), rel=1e-9)
    assert "3 inputs repeat" in found.causes[0] and "3 of them carry another target" in found.causes[0]


def test_floor_of_the_theory_note():
    x, y = r20()
    same = np.sign(y[:3])  # targets as labels: the floor depends on how far they are from 1
    problem = wide(4096)
    x3, y3 = np.concatenate([x, x[:3]]), np.concatenate([same, y[3:], np.ones(3)])
    problem = isthmus.Problem(problem.network, torch.tensor(x3), torch.tensor(y3[:, None]), HalfSum())
    assert spectrum(problem).floor == pytest.approx(float((same < 0).sum()), abs=1e-9)


def test_equispaced_circle_is_flagged_and_one_antipodal_pair_is_not():
    angles = 2 * np.pi * np.arange(12) / 12
    circle = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1))
    net = wide(2, 0).network.module
    net = type(net)(2, 4096)
    found = spectrum(isthmus.Problem(net, circle, torch.tensor(np.cos(3 * angles))[:, None], HalfSum()))
    assert found.smallest == 0.0 and "antipodal" in found.causes[0]
    pair = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    pair = spectrum(isthmus.Problem(net, pair, torch.ones(2, 1, dtype=torch.float64), HalfSum()))
    assert pair.smallest > 0.4 and pair.causes == []


def test_fewer_parameters_than_outputs():
    net = nn.Linear(2, 1).double()
    x = torch.randn(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = spectrum(isthmus.Problem(net, x, x.sum(1, keepdim=True) ** 2, nn.MSELoss()))
    assert found.zero_modes == 7 and "3 parameters cannot move 10 outputs" in found.causes[0]


def test_record_goes_to_disk_and_back(tmp_path):
    found = spectrum(regression())
    assert Spectrum.load(found.save(tmp_path / "s.safetensors")).same_numbers(found)


def test_refusals():
    with pytest.raises(InputError, match="modes = 21"):
        spectrum(regression(), modes=21)

    def flat(outputs, targets):
        return (outputs - targets).abs().sum()

    with pytest.raises(HypothesisError, match="convex and curved"):
        spectrum(isthmus.Problem(regression().network, *r20_tensors(), flat, reduction="sum"))


def r20_tensors():
    x, y = r20()
    return torch.tensor(x), torch.tensor(y[:, None])
