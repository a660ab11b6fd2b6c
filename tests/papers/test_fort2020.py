"""What the claims of Fort et al. 2020 are made of."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed
from isthmus.papers.fort2020 import PAPER
from isthmus.papers.fort2020.figures import main, residual_networks
from isthmus.papers.fort2020.instances import RECIPES, kernel_steps, problem, signals
from isthmus.papers.fort2020.resnet import StepSgd, crop_and_flip, images, resnet20
from isthmus.papers.fort2020.transient import _growth, _half_time
from isthmus.results.evolution import EvolutionCurves


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


def test_resnet20_is_the_known_architecture() -> None:
    module = resnet20(seed=Seed(0))
    assert sum(parameter.numel() for parameter in module.parameters()) == 269_722
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_rate_falls_at_its_milestones() -> None:
    optimizer, schedule = StepSgd(milestones=(1, 2))([torch.nn.Parameter(torch.zeros(1))])
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1, 0.01, 0.001])


def test_augmented_images_are_shifts_and_mirrors() -> None:
    image = torch.arange(3 * 32 * 32.0).reshape(1, 3, 32, 32) + 1
    moved = crop_and_flip(image.expand(20, -1, -1, -1), Seed(0))
    inner = image[0, 0, 8:24, 8:24]
    for one in moved[:, 0]:
        both = [view.unfold(0, 16, 1).unfold(1, 16, 1).flatten(0, 1) for view in (one, one.flip(-1))]
        assert any((windows == inner).flatten(1).all(1).any() for windows in both)
    assert torch.equal(moved, crop_and_flip(image.expand(20, -1, -1, -1), Seed(0)))


def test_own_arrays_are_read_and_wrong_ones_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "train_images": generator.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8), "train_labels": np.arange(12) % 10,
        "test_images": generator.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8), "test_labels": np.arange(5),
    }  # fmt: skip
    np.savez(tmp_path / "cifar.npz", **arrays)
    found = images(tmp_path / "cifar.npz", samples=10)
    assert found.train_inputs.shape == (10, 3, 32, 32)
    raw = torch.from_numpy(arrays["train_images"]).permute(0, 3, 1, 2).double() / 255
    expected = (raw - raw.mean((0, 2, 3), keepdim=True)) / raw.std((0, 2, 3), keepdim=True)
    assert torch.allclose(found.train_inputs.double(), expected[:10], atol=1e-5)
    np.savez(tmp_path / "flat.npz", **{**arrays, "train_images": arrays["train_images"].reshape(12, -1)})
    with pytest.raises(InputError, match="lacks train_images in the right shape"):
        images(tmp_path / "flat.npz")
    with pytest.raises(InputError, match=r"no \.npz file"):
        images(tmp_path / "missing.npz")


@pytest.mark.slow
def test_resnet20_goes_through_all_measures_on_generated_images() -> None:
    record = residual_networks(None, seeds=1, epochs=1, batch=1, samples=4, tests=2, kernel_samples=3, probes=1, spawn_times=2)
    assert record.scale == "smoke"
    assert np.isfinite(record.landscape).all()
    assert np.isfinite(record.velocity).all()
    assert record.solved_error.shape == (1, 2)


@pytest.mark.slow
def test_figures_at_smoke_scale_leave_records_and_pictures(tmp_path: Path) -> None:
    main(str(tmp_path), "smoke")
    record = EvolutionCurves.load(tmp_path / "curves.safetensors")
    assert record.scale == "smoke"
    assert all((tmp_path / f"{name}.svg").stat().st_size > 1000 for name in ("curves", "together", "map"))
