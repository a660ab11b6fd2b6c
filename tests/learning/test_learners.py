"""Learners against closed forms and each other, and the curves that compare them."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch import nn

from isthmus._core.errors import InputError, NumericalError
from isthmus._core.seeds import Seed
from isthmus._core.status import Status
from isthmus.learning.kernel_learners import (
    ClosedKernelLearner,
    ConjugateKernelLearner,
    GaussianKernel,
    RandomFeatureLearner,
    TangentKernelLearner,
)
from isthmus.learning.learners import Grid, NetworkLearner, split
from isthmus.learning.targets import Composite, LinearTarget
from isthmus.model.data import Sgd
from isthmus.model.problem import Problem
from isthmus.model.zoo import relu_net
from isthmus.studies.learning_curves import curves_record, learning_curves
from isthmus.studies.own_learning import own_learning_curves
from isthmus.training import train
from isthmus.training.ensemble import Schedule

QUICK = Schedule(epochs=10)
SEED = Seed(0)


def sample(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    x, y = Composite().sample(count, 0)
    return x.numpy(), y.numpy()


def test_gaussian_learner_is_kernel_ridge_regression_of_scikit_learn() -> None:
    x, y = sample()
    fitted = ClosedKernelLearner().fit(x, y, seed=SEED)
    width = fitted.predict.rows.kernel.width  # type: ignore[attr-defined]
    theirs = KernelRidge(alpha=len(x) * fitted.chosen["ridge"], kernel="rbf", gamma=1 / (2 * width**2)).fit(x, y - y.mean(0))
    z = sample(200)[0][120:]
    np.testing.assert_allclose(fitted.predict(z), theirs.predict(z) + y.mean(0), rtol=1e-6, atol=1e-8)


def test_tangent_kernel_learner_interpolates_from_the_networks_start() -> None:
    """With a vanishing ridge the minimum-norm displacement of the linearized network is found."""
    x, y = sample(40)
    learner = TangentKernelLearner(3, 60)
    fitted = learner.fit(x, y, seed=SEED)
    network = fitted.predict.start.network  # type: ignore[attr-defined]
    assert isinstance(network.module, nn.Sequential)
    assert set(network.parameters) == {"0.weight", "2.weight"}
    residual = np.abs(fitted.predict(x) - y).mean() / np.abs(y).mean()
    assert residual < 0.9
    assert "hidden weights only" in learner.words


@pytest.mark.parametrize(
    "learner",
    [
        TangentKernelLearner(2, 50),
        ConjugateKernelLearner(3, 50),
        RandomFeatureLearner(200),
        ClosedKernelLearner.infinite_width(3),
    ],
)
def test_kernels_learn_a_linear_target_of_several_outputs(learner: object) -> None:
    x = LinearTarget().sample(300, 0)[0].numpy()
    y = np.stack([x[:, 0], x[:, 1] - x[:, 2]], axis=1)
    fitted = learner.fit(x[:200], y[:200], seed=SEED)  # type: ignore[attr-defined]
    gap = fitted.predict(x[200:]) - y[200:]
    assert np.square(gap).mean() < 0.02 * y.var()
    assert "KARE" in fitted.choice


def test_validation_and_oracle_are_told_apart_and_oracle_is_no_worse_on_its_own_samples() -> None:
    x, y = sample(300)
    train_x, test_x, train_y, test_y = x[:200], x[200:], y[:200], y[200:]
    learner = NetworkLearner(3, 20, grid=Grid((0.3, 1.0), (0.0,)), schedule=QUICK)
    honest = learner.fit(train_x, train_y, seed=SEED)
    assert "validation on 40" in honest.choice
    peeked = learner.fit(train_x, train_y, seed=SEED, oracle=(test_x, test_y))
    assert peeked.choice.startswith("oracle")
    kernel = ClosedKernelLearner()
    errors = [
        np.square(kernel.fit(train_x, train_y, seed=SEED, oracle=o).predict(test_x) - test_y).mean()
        for o in (None, (test_x, test_y))
    ]
    assert errors[1] <= errors[0]


def test_first_order_learner_approaches_its_kernel() -> None:
    """Descent on the linearized network and ridge regression with its kernel are the same function class and start."""
    x = LinearTarget().sample(400, 0)[0].numpy()
    y = x[:, :1]
    linear = NetworkLearner(2, 50, order=1, grid=Grid((3.0,), (0.0,)), schedule=Schedule(epochs=60)).fit(
        x[:100], y[:100], seed=SEED
    )
    kernel = TangentKernelLearner(2, 50).fit(x[:100], y[:100], seed=SEED)
    assert np.square(linear.predict(x[100:]) - kernel.predict(x[100:])).mean() < 0.05 * y.var()


def test_a_diverging_grid_is_survived_and_counted() -> None:
    x, y = sample(100)
    learner = NetworkLearner(3, 20, order=2, grid=Grid((0.3, 300.0), (0.0,)), schedule=QUICK)
    fitted = learner.fit(x, y, seed=SEED)
    assert fitted.excluded == 1
    assert fitted.chosen["rate"] == pytest.approx(0.3 / 20)


@pytest.mark.parametrize("order", [None, 1, 2])
def test_seeds_together_are_seeds_alone(order: int | None) -> None:
    """The first seed names the batch order, so with full batches every seed is its own run; starts differ."""
    x, y = sample(120)
    learner = NetworkLearner(3, 10, order=order, grid=Grid((0.2, 0.5), (0.0, 1e-3)), schedule=Schedule(epochs=8, batch=60))
    seeds = [Seed(1), Seed(2)]
    pair = (np.stack([x[:60], x[60:]]), np.stack([y[:60], y[60:]]))
    together = learner.fit_seeds(*pair, seeds=seeds)
    for index, seed in enumerate(seeds):
        alone = learner.fit(pair[0][index], pair[1][index], seed=seed)
        assert alone.chosen == together[index].chosen
        np.testing.assert_allclose(alone.predict(x), together[index].predict(x), rtol=1e-4, atol=1e-4)
    assert np.abs(together[0].predict(x) - together[1].predict(x)).max() > 0.1


def test_a_seed_that_diverges_is_infinite_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = ClosedKernelLearner.fit

    def sometimes(
        self: ClosedKernelLearner, inputs: np.ndarray, targets: np.ndarray, *, seed: Seed, oracle: object = None
    ) -> object:
        if str(seed) == str(Seed(0).child("seed", 1, "learner")):
            raise NumericalError(Status.NOT_FINITE, "made to fail")
        return inner(self, inputs, targets, seed=seed)

    monkeypatch.setattr(ClosedKernelLearner, "fit", sometimes)
    record = learning_curves(LinearTarget(), [ClosedKernelLearner()], [30], seeds=3, test_samples=50)
    assert np.isinf(record.test_error[0, 1, 0])
    assert np.isfinite(record.test_error[0, [0, 2], 0]).all()


def test_parameters_are_those_of_the_model_that_learns_and_a_ridge_at_the_edge_is_told() -> None:
    learners = [TangentKernelLearner(3, 7), ConjugateKernelLearner(2, 7), RandomFeatureLearner(30), ClosedKernelLearner()]
    found = learning_curves(LinearTarget(), learners, [60], seeds=1, test_samples=50)
    assert found.parameters.tolist() == [7 * 4 + 49, 8, 30, 60]
    assert (found.cpu_seconds > 0).all()
    x, y = sample(200)
    assert "edge" in ClosedKernelLearner().fit(x, y, seed=SEED).choice
    linear = ClosedKernelLearner.linear().fit(x[:, :2], 3 * x[:, :1] - x[:, 1:2] + 2, seed=SEED)
    np.testing.assert_allclose(linear.predict(np.eye(2)), [[5], [1]], atol=1e-3)


def test_a_winner_that_blows_up_on_all_samples_is_not_kept() -> None:
    """On the kept samples the rate is stable; one more step an epoch on samples that are far longer is not."""
    x, y = sample(50)
    held = split(50, 0.2, SEED.child("held out"))[1].numpy()
    stretched = x.copy()
    stretched[held] *= 30
    learner = NetworkLearner(2, 20, grid=Grid((0.5, 0.4), (0.0,)), schedule=Schedule(epochs=20, batch=5))
    fitted = learner.fit(stretched, y, seed=SEED)
    assert "trained on the others only" in fitted.choice
    kept = np.setdiff1d(np.arange(50), held)
    assert np.square(fitted.predict(x[kept]) - y[kept]).mean() < np.square(y).mean()


def test_curves_share_samples_and_do_not_depend_on_their_order() -> None:
    learners = [ClosedKernelLearner(), TangentKernelLearner(2, 20)]
    one = learning_curves(LinearTarget(), learners, [40, 20, 80, 160], seeds=2, test_samples=500)
    two = learning_curves(LinearTarget(), learners, [20, 40, 80, 160], seeds=2, test_samples=500)
    assert one.same_numbers(two)
    assert one.samples.tolist() == [20, 40, 80, 160]
    assert one.test_error.shape == (2, 2, 4)
    x, y = LinearTarget().sample(160, Seed(0).child("seed", 1, "train"))
    z, truth = LinearTarget().sample(500, Seed(0).child("seed", 1, "test"))
    mine = ClosedKernelLearner().fit(x[:40].numpy(), y[:40].numpy(), seed=Seed(0).child("seed", 1, "learner"))
    gap = np.square(mine.predict(z.numpy()) - truth.numpy()).mean() / truth.numpy().var()
    assert one.test_error[0, 1, 1] == pytest.approx(gap, rel=1e-9)


def test_the_same_learner_at_two_widths_is_named_by_width() -> None:
    found = learning_curves(
        LinearTarget(), [TangentKernelLearner(2, 5), TangentKernelLearner(2, 50)], [60], seeds=2, test_samples=200
    )
    assert found.learners == ["2-layer tangent kernel, width 5", "2-layer tangent kernel, width 50"]
    assert np.isnan(found.slope).all()


def test_ratios_gains_and_slopes_of_made_up_curves() -> None:
    samples = np.array([100, 200, 400, 800])
    network, kernel = 100.0 / samples, 10.0 / samples**0.5
    noise = np.array([1.0, 1.1])[:, None]
    record = curves_record(
        samples,
        np.stack([network * noise, kernel * noise]),
        kernels=np.array([False, True]),
        metric="nmse",
        parameters=np.zeros(2, dtype=int),
        cpu_seconds=np.zeros((2, 4)),
        learners=["network", "kernel"],
        words=["", ""],
        target="made up",
        test_samples=1,
        oracle=False,
        **common(),
    )
    np.testing.assert_allclose(record.slope, [-1, -0.5], atol=1e-9)
    goal = 10 / 800**0.5
    assert record.sample_ratio[0] == pytest.approx(800 / (100 / goal), rel=1e-6)
    assert not record.ratio_is_bound.any()
    assert record.gain[0, -1] == pytest.approx((goal - 100 / 800) * 1.05, rel=1e-9)
    assert record.headline[0] == record.gain[0, -1]


def common() -> dict:
    from isthmus.results.provenance import Cost, Provenance

    return {"status": Status.ESTIMATED, "method": "", "cost": Cost(), "provenance": Provenance()}


def test_refusals() -> None:
    x, y = sample(6)
    with pytest.raises(InputError, match="held-out"):
        NetworkLearner(2, 5, schedule=QUICK).fit(x, y, seed=SEED)
    with pytest.raises(InputError, match="Learning curves need"):
        learning_curves(LinearTarget(), [], [10])


def test_own_network_beside_its_own_kernels() -> None:
    x, y = LinearTarget(seed=1).sample(400, 0)
    x, y = x.float(), (y > 0).long()[:, 0]
    problem = Problem(relu_net(4, 30, 2, trains="all").float(), x[:300], y[:300], nn.CrossEntropyLoss(), test=(x[300:], y[300:]))
    run = train(problem, Sgd(lr=0.05), epochs=20)
    record = own_learning_curves(run, Sgd(lr=0.05), batch=50, seeds=2)
    assert record.parameters.tolist() == [210, 210, 60, 210]
    assert record.samples.tolist() == [18, 37, 75, 150]
    assert record.metric == "error"
    assert record.mean[0, -1] < 0.2
    assert record.kernels.tolist() == [False, True, True, False]
    best = record.test_error[1:3].min(axis=0)
    np.testing.assert_allclose(record.gain[0], (best - record.test_error[0]).mean(0))
    with pytest.raises(InputError, match="test data"):
        own_learning_curves(train(Problem(problem.network, x, y, nn.CrossEntropyLoss()), steps=2), Sgd(), batch=50)


def test_own_network_with_ignored_labels() -> None:
    x, y = LinearTarget(seed=1).sample(400, 0)
    labels = torch.where(torch.arange(400) % 4 == 0, -100, (y > 0).long()[:, 0])
    test = (x[300:].float(), labels[300:])
    problem = Problem(relu_net(4, 10, 2, trains="all").float(), x[:300].float(), labels[:300], nn.CrossEntropyLoss(), test=test)
    record = own_learning_curves(train(problem, Sgd(lr=0.05), epochs=5), Sgd(lr=0.05), batch=50, seeds=1)
    assert record.test_samples == 75
    assert record.mean[1, -1] < 0.3


def test_the_last_layers_kernel_is_that_of_the_hidden_features() -> None:
    from isthmus.kernel import empirical_ntk
    from isthmus.model.network import Network
    from isthmus.studies.own_learning import _last_layer

    module = relu_net(4, 9, 3, 3, trains="all").double()
    x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = module[:-1](x)
    kernel = empirical_ntk(_last_layer(Network(module)), x, outputs="trace").matrix
    np.testing.assert_allclose(kernel, 3 * (hidden @ hidden.T).numpy(), rtol=1e-10)
    assert GaussianKernel(1.0)(x.numpy(), x.numpy())[0, 0] == 1.0
