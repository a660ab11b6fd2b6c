"""The chapter beyond the kernel: words for every outcome, and figures that draw what is in the record."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from isthmus.learning import order_shares, remainder_orders
from isthmus.learning.kernel_learners import ClosedKernelLearner, TangentKernelLearner
from isthmus.learning.targets import LinearTarget
from isthmus.model.problem import Problem
from isthmus.plots.learning import plot_curves, plot_orders, plot_parameters
from isthmus.report.chapters.learning import LEARNING
from isthmus.results.learning import LearningCurves
from isthmus.studies.learning_curves import learning_curves
from isthmus.training import train


@pytest.fixture(scope="module")
def records() -> dict:
    x, y = LinearTarget().sample(60, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        problem = Problem(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double(), x, y, nn.MSELoss())
    run = train(problem, epochs=5)
    curves = learning_curves(
        LinearTarget(), [TangentKernelLearner(2, 10), ClosedKernelLearner()], [20, 40], seeds=3, test_samples=100
    )
    return {
        "learning/orders": order_shares(run),
        "learning/remainder": remainder_orders(problem, x),
        "learning/own_curves": curves,
    }


def with_gain(record: LearningCurves, headline: tuple[float, float, float], metric: str) -> LearningCurves:
    return dataclasses.replace(record, headline=headline, metric=metric)


@pytest.mark.parametrize(
    ("headline", "metric", "part"),
    [
        ((0.1, 0.05, 0.15), "error", "10.0 percentage points [5.0, 15.0] fewer test errors"),
        ((-0.1, -0.15, -0.05), "error", "10.0 percentage points [5.0, 15.0] more test errors"),
        ((0.01, -0.02, 0.04), "error", "cannot be told apart (gain +1.0 points [-2.0, +4.0])"),
        ((0.2, 0.1, 0.3), "nmse", "0.2 [0.1, 0.3] below"),
        ((-0.2, -0.3, -0.1), "nmse", "0.2 [0.1, 0.3] above"),
    ],
)
def test_the_gain_has_words_for_either_sign(records: dict, headline: tuple, metric: str, part: str) -> None:
    changed = {**records, "learning/own_curves": with_gain(records["learning/own_curves"], headline, metric)}
    assert part in LEARNING.sentence(changed)


def test_headlines_and_figures_come_from_the_records(records: dict) -> None:
    names = [line.name for line in LEARNING.headline(records)]
    assert names[0].startswith("unexplained by order 1")
    assert any(name.startswith("gain over") for name in names)
    plates = LEARNING.figures(records)
    assert [plate.id for plate in plates] == ["orders", "own-curves"]
    assert "as a smooth network's must" in plates[0].caption


def test_curves_are_drawn_where_the_record_has_them(records: dict) -> None:
    orders, curves = records["learning/orders"], records["learning/own_curves"]
    lower = plot_orders(orders).axes[1]
    drawn = lower.lines[0].get_ydata()
    np.testing.assert_array_equal(np.asarray(drawn), orders.unexplained[:, 1])
    axes = plot_curves(curves).axes[0]
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), curves.mean[0])
    texts = {text.get_text() for text in axes.texts}
    assert set(curves.learners) <= texts


def test_learners_of_one_name_are_one_curve_over_parameters() -> None:
    learners = [TangentKernelLearner(2, width) for width in (5, 10, 20)] + [ClosedKernelLearner()]
    record = learning_curves(LinearTarget(), learners, [40], seeds=2, test_samples=50)
    axes = plot_parameters(record).axes[0]
    np.testing.assert_array_equal(np.asarray(axes.lines[0].get_xdata()), [20, 40, 80])
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_ydata()), record.mean[:3, 0])
    assert [text.get_text() for text in axes.texts].count("2-layer tangent kernel") == 1
