"""What the claims of Fort et al. 2020 are made of."""

import numpy as np
import pytest

from isthmus._core.seeds import Seed
from isthmus.papers.fort2020 import PAPER
from isthmus.papers.fort2020.instances import RECIPES, kernel_steps, problem, signals
from isthmus.papers.fort2020.transient import _growth, _half_time


def test_statements_of_the_paper_are_all_bound() -> None:
    wanted = {
        "lazy_limit", "standard_training_diverges", "chaotic_transient_fixes_basin", "kernel_changes_fast_early", "factor_three",
        "constant_velocity_after", "matches_network", "measures_correlate",
    }  # fmt: skip
    assert wanted <= {claim.id for claim in PAPER.claims}


def test_signals_are_named_by_their_seed_and_balanced() -> None:
    one, again, other = (signals(200, 50, Seed(seed)) for seed in (0, 0, 1))
    assert one.train_inputs.equal(again.train_inputs)
    assert not one.train_inputs.equal(other.train_inputs)
    counts = np.bincount(np.concatenate([one.train_targets.numpy(), one.test_targets.numpy()]))
    assert counts.tolist() == [25] * 10


def test_half_of_the_fall_is_interpolated() -> None:
    epoch = np.array([0.0, 1.0, 2.0, 4.0])
    assert _half_time(epoch, np.array([0.2, 0.2, 0.2, 0.0]), 9.0) == pytest.approx(3.0)
    assert _half_time(epoch, np.array([0.1, 0.2, 0.0, 0.0]), 9.0) == pytest.approx(1.5)
    assert _half_time(epoch, np.array([0.01, 0.01, 0.0, 0.0]), 9.0) == 9.0, "no transient without a barrier"
    assert _half_time(epoch, np.array([0.2, 0.2, 0.2, 0.2]), 9.0) == 9.0, "no transient without a fall"


def test_the_rate_of_separation_is_that_of_an_exponential_that_saturates() -> None:
    times = np.linspace(0.1, 5, 30)
    assert _growth(times, np.minimum(1e-4 * np.exp(3 * times), 1.0)) == pytest.approx(3.0, rel=0.05)
    assert _growth(times, np.exp(-0.5 * times)) == pytest.approx(-0.5)


def test_kernels_are_solved_within_what_the_statements_name() -> None:
    for scale, recipes in RECIPES.items():
        recipe = recipes["convolutional"]
        per_epoch = -(-recipe.samples // recipe.batch)
        steps = kernel_steps(scale, recipe.epochs * per_epoch, per_epoch)
        assert any(0 < step <= 4 * per_epoch for step in steps)
        assert max(steps.values()) == pytest.approx(0.45, abs=0.01) or scale == "smoke"


def test_the_convolutional_network_is_the_prototypes() -> None:
    assert problem("convolutional", "smoke", Seed(0)).network.size < 5210
