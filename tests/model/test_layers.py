"""Layer-level knowledge: drawing again, measuring norms anew, scoring."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from isthmus._core.errors import InputError, UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model import evaluation
from isthmus.model.evaluation import evaluate
from isthmus.model.initialization import reinitialized
from isthmus.model.network import Network
from isthmus.model.normalization import has_running_statistics, recalibrated
from isthmus.model.problem import Problem
from tests.model.networks import NETWORKS, build, cnn, mlp

each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.mark.parametrize("make", [mlp, cnn])
def test_drawing_again_is_what_the_constructor_draws(make) -> None:
    with forked_rng(Seed(4)):
        constructed = make()
    drawn = reinitialized(Network(make()), Seed(4))
    assert all(torch.equal(v, constructed.state_dict()[k]) for k, v in drawn.parameters.items())


@each_network
def test_every_architecture_can_be_drawn_again(name: str) -> None:
    module, inputs, _ = build(name)
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    network = Network(module)
    one, same, other = (reinitialized(network, Seed(s)) for s in (0, 0, 1))
    assert one.parameter_hash == same.parameter_hash != other.parameter_hash
    assert one.architecture_hash == network.architecture_hash
    assert not torch.allclose(one(inputs), network(inputs))
    assert not one.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_a_layer_that_cannot_be_drawn_again_is_named() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.gain * x

    with pytest.raises(UnsupportedLayer, match=r"1 \(Own\) owns parameters and has no reset_parameters"):
        reinitialized(Network(nn.Sequential(nn.Linear(2, 2), Own())), Seed(0))


def test_fresh_buffers_and_training_mode_are_kept_apart() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    module(torch.randn(50, 2) * 9)
    drawn = reinitialized(Network(module), Seed(0))
    assert drawn.training
    assert not drawn.buffers["1.running_mean"].any()
    assert reinitialized(Network(module).eval(), Seed(0)).training is False


def test_which_networks_have_running_statistics() -> None:
    assert has_running_statistics(Network(cnn()))
    assert not has_running_statistics(Network(mlp()))
    assert not has_running_statistics(Network(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))))


@pytest.mark.parametrize("training", [True, False])
def test_recalibration_measures_both_norms_by_hand(training: bool) -> None:
    """The second norm sees the first one's output under batch statistics (biased variance); what is kept is unbiased."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 2), nn.BatchNorm1d(2))
    module = module.double().train(training)
    x = torch.randn(40, 3, dtype=torch.float64)
    problem = Problem(module, x, torch.randn(40, 2, dtype=torch.float64), nn.MSELoss())
    found = recalibrated(problem).network.buffers
    state = {k: v.numpy() for k, v in module.state_dict().items()}
    first = x.numpy() @ state["0.weight"].T + state["0.bias"]
    hidden = np.maximum((first - first.mean(0)) / np.sqrt(first.var(0) + 1e-5), 0)
    second = hidden @ state["4.weight"].T + state["4.bias"]
    for name, values in (("1", first), ("5", second)):
        np.testing.assert_allclose(found[f"{name}.running_mean"], values.mean(0), atol=1e-12)
        np.testing.assert_allclose(found[f"{name}.running_var"], values.var(0, ddof=1), atol=1e-12)
    assert problem.network.buffers["1.running_mean"].abs().max() == 0, "the problem itself keeps its own"


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_scores_are_whole_data_means_in_any_pieces(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_ROWS", rows)
    module, inputs, labels = build("mlp", samples=10)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:7], labels[:7]))
    for data, count in (("train", 10), ("test", 7)):
        with torch.no_grad():
            logits = module(inputs[:count])
        score = evaluate(problem, data=data)
        assert score.loss == pytest.approx(float(nn.CrossEntropyLoss()(logits, labels[:count])), rel=1e-13)
        assert score.error == pytest.approx(float((logits.argmax(1) != labels[:count]).double().mean()))


def test_ignored_labels_are_no_errors() -> None:
    module, inputs, labels = build("mlp", samples=12)
    labels[:5] = -100
    score = evaluate(Problem(module, inputs, labels, nn.CrossEntropyLoss()))
    with torch.no_grad():
        logits = module(inputs)
    assert score.loss == pytest.approx(float(nn.CrossEntropyLoss()(logits, labels)), rel=1e-13)
    assert score.error == pytest.approx(float((logits[5:].argmax(1) != labels[5:]).double().mean()))


def test_another_class_loss_counts_every_label() -> None:
    module, inputs, labels = build("mlp", samples=12)
    with torch.no_grad():
        wrong = float((module(inputs).argmax(1) != labels).double().mean())
    assert evaluate(Problem(module, inputs, labels, nn.MultiMarginLoss())).error == pytest.approx(wrong)


def test_regression_has_no_error_and_missing_test_data_are_named() -> None:
    problem = Problem(nn.Linear(2, 1), torch.randn(4, 2), torch.randn(4, 1), nn.MSELoss())
    assert np.isnan(evaluate(problem).error)
    with pytest.raises(InputError, match="no test data"):
        evaluate(problem, data="test")
