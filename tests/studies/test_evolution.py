"""Spawning, after-kernels and linearized children against exact facts."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch import nn

import isthmus
from isthmus import Problem, Seed
from isthmus._core.errors import HypothesisError, InputError
from isthmus.model.data import Sgd
from isthmus.studies.after_kernel import after_kernel
from isthmus.studies.evolution import MEASURES, pair_measures, spawning, twin_separation
from isthmus.studies.linearized import linear_rate, linearized_children
from isthmus.studies.spawning import spawn
from tests.model.networks import build

STEPS, BATCH = 12, 8


def parent(module: nn.Module | None = None, **options):
    net, inputs, labels = build("mlp", samples=30)
    problem = Problem(net if module is None else module, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:10], labels[:10]))
    grid = {"steps": STEPS, "batch": BATCH, "seed": Seed(1), "checkpoints": range(STEPS + 1)}
    return isthmus.train(problem, Sgd(lr=0.2), **{**grid, **options})


def end(run) -> torch.Tensor:
    return run.problem_at(run.steps[-1]).network.flat


def test_children_differ_in_order_and_repeat_bit_for_bit(tmp_path: Path) -> None:
    run = parent()
    one, again, stored = (spawn(run, 5, 3, optimizer=Sgd(lr=0.2), store=place) for place in (None, None, tmp_path))
    for a, b, c in zip(one.children, again.children, stored.children, strict=True):
        assert torch.equal(end(a), end(b))
        assert torch.equal(end(a), end(c))
    assert not torch.equal(end(one.children[0]), end(one.children[1]))
    assert torch.equal(one.children[0].problem_at(5).network.flat, run.problem_at(5).network.flat)


def test_parallel_children_are_the_same_children() -> None:
    run = parent()
    serial, parallel = (spawn(run, 4, 2, optimizer=Sgd(lr=0.2), workers=workers) for workers in (1, 2))
    assert all(torch.equal(end(a), end(b)) for a, b in zip(serial.children, parallel.children, strict=True))


def test_the_unperturbed_child_of_the_same_stream_is_the_parent() -> None:
    run = parent()
    twins = spawn(run, 3, 2, optimizer=Sgd(lr=0.2), vary="epsilon", epsilon=1e-3)
    assert torch.equal(end(twins.children[0]), end(run))
    start = run.problem_at(3).network.flat
    moved = twins.children[1].problem_at(3).network.flat - start
    assert float(moved.norm()) == pytest.approx(1e-3 * float(start.norm()), rel=1e-6)


def test_a_reset_child_loses_the_momentum_and_keeps_the_rest() -> None:
    run = parent()
    kept = spawn(run, 5, 1, optimizer=Sgd(lr=0.2))
    reset = spawn(run, 5, 1, optimizer=Sgd(lr=0.2), vary="optimizer_reset")
    assert not reset.children[0].checkpoint(5).optimizer_state
    assert kept.children[0].checkpoint(5).optimizer_state


def test_children_of_the_end_are_exactly_the_same() -> None:
    run = parent()
    record = spawning(run, steps=[0, STEPS], children=3, optimizer=Sgd(lr=0.2), kernel_samples=6)
    last = record.values[:, 1]
    assert np.nanmax(np.abs(last)) == 0
    assert record.measure("weights")[0].min() > 0
    assert record.values.shape == (len(MEASURES), 2, 3)


def test_the_layers_of_rectifiers_pool_to_their_hamming_distance() -> None:
    sizes = (9, 4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = (nn.Linear(a, b).double() for a, b in ((6, sizes[0]), (sizes[0], sizes[1])))
        module = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Linear(4, 3).double())
    record = spawning(parent(module), steps=[0, 5], children=3, optimizer=Sgd(lr=0.2), kernel_samples=4)
    assert record.layers.shape == (2, 2, 3)
    pooled = np.einsum("l,lsp->sp", np.array(sizes) / sum(sizes), record.layers)
    assert record.measure("hamming") == pytest.approx(pooled)


def test_refinement_finds_barriers_that_are_no_lower() -> None:
    run = parent()
    even, refined = (spawning(run, steps=[0], optimizer=Sgd(lr=0.2), kernel_samples=4, refine=kind) for kind in (False, True))
    assert (refined.measure("barrier_train_loss") >= even.measure("barrier_train_loss")).all()
    assert "refined" in refined.method
    assert "refined" not in even.method


def test_a_stopped_child_is_taken_up_and_ends_bit_equal(tmp_path: Path) -> None:
    run = parent()
    whole = spawn(run, 4, 2, optimizer=Sgd(lr=0.2), checkpoints=(7, 9), store=tmp_path)
    folder = tmp_path / "00000004" / "order-1"
    for path in sorted(folder.glob("*.safetensors"))[2:]:
        path.unlink()
    again = spawn(run, 4, 2, optimizer=Sgd(lr=0.2), checkpoints=(7, 9), store=tmp_path)
    assert all(torch.equal(end(a), end(b)) for a, b in zip(whole.children, again.children, strict=True))


def test_children_of_other_data_are_refused() -> None:
    run = parent()
    moved = Problem(run.problem.network.module, run.problem.inputs + 1, run.problem.targets, nn.CrossEntropyLoss())
    elsewhere = dataclasses.replace(run, problem=moved)
    with pytest.raises(InputError, match="training data"):
        spawn(elsewhere, 4, optimizer=Sgd(lr=0.2))


def test_dropout_trains_and_is_off_in_every_measure() -> None:
    """The parent's stream continues its masks bit for bit; measures are deterministic, so children of the end are equal."""
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    run = parent(module)
    twins = spawn(run, 3, 1, optimizer=Sgd(lr=0.2), vary="epsilon")
    assert torch.equal(end(twins.children[0]), end(run))
    record = spawning(run, steps=[0, STEPS], optimizer=Sgd(lr=0.2), kernel_samples=6)
    assert np.nanmax(np.abs(record.values[:, 1])) == 0
    assert record.measure("kernel")[0].min() > 0


def test_batch_statistics_are_measured_anew_on_the_line() -> None:
    module = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).double()
    run = parent(module)
    record = spawning(run, steps=[0], optimizer=Sgd(lr=0.2), kernel_samples=6)
    first, second = (child.problem_at(STEPS) for child in spawn(run, 0, 2, optimizer=Sgd(lr=0.2)).children)
    line = isthmus.error_barrier(first, first, second, refine=False)
    assert "recalibrate" in line.method
    assert record.measure("barrier_train_loss")[0, 0] == line.chord[line.quantities.index("train_loss")]


def test_augmented_children_share_the_order() -> None:
    run = parent()

    def noise(inputs: torch.Tensor, seed: Seed) -> torch.Tensor:
        return inputs + 0.1 * torch.from_numpy(seed.numpy().standard_normal(inputs.shape)).to(inputs)

    family = spawn(run, 4, 2, optimizer=Sgd(lr=0.2), vary="augmentation", augment=noise)
    assert not torch.equal(end(family.children[0]), end(family.children[1]))
    silent = spawn(run, 4, 2, optimizer=Sgd(lr=0.2), vary="augmentation", augment=lambda inputs, seed: inputs)
    assert all(torch.equal(end(child), end(run)) for child in silent.children)


def test_a_diverged_child_is_excluded_and_counted() -> None:
    run = parent()

    def explode(inputs: torch.Tensor, seed: Seed) -> torch.Tensor:
        return inputs * (math.inf if "child/1" in str(seed) else 1.0)

    record = spawning(run, steps=[4], children=3, optimizer=Sgd(lr=0.2), vary="augmentation", augment=explode, kernel_samples=5)
    assert record.diverged.tolist() == [1]
    assert np.isnan(record.child_test_loss[0]).sum() == 1
    assert np.isfinite(record.measure("weights")).sum() == 1


def test_bad_requests_are_named() -> None:
    run = parent()
    with pytest.raises(InputError, match="no checkpoint"):
        spawn(run, 99)
    with pytest.raises(InputError, match="augment="):
        spawn(run, 3, vary="augmentation")
    with pytest.raises(InputError, match="at least 2"):
        spawning(run, steps=[0], children=1)


def test_recorders_checkpoints_cannot_be_continued(tmp_path: Path) -> None:
    net, inputs, labels = build("mlp", samples=30)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    recorder = isthmus.Recorder(net, optimizer, tmp_path, steps_per_epoch=4, total_steps=8)
    for _ in range(8):
        recorder.step()
    with pytest.raises(InputError, match=r"isthmus\.train"):
        spawn(isthmus.open_trajectory(tmp_path, Problem(net, inputs, labels, nn.CrossEntropyLoss())), 0)


def test_twins_of_a_quadratic_separate_at_their_known_rate() -> None:
    """Full-batch descent on a 1-d quadratic: the distance shrinks by |1 - lr h| a step."""
    inputs = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
    net = nn.Linear(1, 1, bias=False).double()
    problem = Problem(net, inputs, 2 * inputs, nn.MSELoss())
    run = isthmus.train(problem, Sgd(lr=0.3, momentum=0.0), steps=6, batch=8, checkpoints=range(7))
    curvature = 2 * float(inputs.square().mean())
    _, apart, rates = twin_separation(run, sizes=(1e-3,), epochs=6, optimizer=Sgd(lr=0.3, momentum=0.0))
    assert apart[0, 1] / apart[0, 0] == pytest.approx(abs(1 - 0.3 * curvature), rel=1e-6)
    assert math.isnan(rates[0]) or rates[0] < 0


def test_the_solved_kernel_is_scikit_learns_ridge() -> None:
    run = parent()
    record = after_kernel(run, steps=[0, STEPS], samples=30)
    problem = run.problem_at(STEPS)
    kernel = isthmus.empirical_ntk(problem, problem.inputs, outputs="trace").matrix
    cross = isthmus.empirical_ntk(problem, problem.test_inputs, problem.inputs, outputs="trace").matrix
    codes = np.eye(problem.outputs)[problem.targets.numpy()] - 1 / problem.outputs
    ridge = record.ridge[1] * np.trace(kernel) / 30 / 30
    model = KernelRidge(alpha=30 * ridge, kernel="precomputed").fit(kernel, codes)
    truth = np.eye(problem.outputs)[problem.test_targets.numpy()] - 1 / problem.outputs
    predicted = model.predict(cross)
    assert record.solved_squared[1] == pytest.approx(((predicted - truth) ** 2).sum(1).mean(), rel=1e-6)
    assert record.solved_error[1] == (predicted.argmax(1) != problem.test_targets.numpy()).mean()
    assert record.final_error == record.network_error[1]


def test_a_network_without_test_data_is_refused() -> None:
    net, inputs, labels = build("mlp", samples=20)
    run = isthmus.train(Problem(net, inputs, labels, nn.CrossEntropyLoss()), Sgd(), steps=3, batch=10)
    with pytest.raises(InputError, match="test data"):
        after_kernel(run, steps=[0])


def test_a_model_linear_in_its_parameters_is_its_own_linearization() -> None:
    run = parent(nn.Linear(6, 3).double())
    record = linearized_children(run, steps=[0, 6], batch=BATCH)
    assert np.abs(record.advantage).max() == 0
    found, layers = pair_measures(run.problem_at(0), run.problem_at(STEPS), run.problem.inputs, run.problem.inputs)
    assert found[MEASURES.index("kernel")] == pytest.approx(0, abs=1e-15)
    assert layers == []


def test_the_linear_rate_is_half_the_inverse_curvature() -> None:
    net, inputs, _ = build("mlp", samples=30)
    problem = Problem(net, inputs, torch.randn(30, 3, dtype=torch.float64), nn.MSELoss())
    kernel = isthmus.empirical_ntk(problem, problem.inputs).matrix
    largest = 2 * np.linalg.eigvalsh(kernel)[-1] / (30 * 3)
    assert linear_rate(problem) == pytest.approx(0.5 / largest, rel=2e-2)
    other = Problem(net, inputs, torch.randn(30, 3, dtype=torch.float64), nn.HuberLoss())
    with pytest.raises(HypothesisError, match="curvature"):
        linear_rate(other)


def test_a_run_with_too_few_checkpoints_is_refused() -> None:
    with pytest.raises(InputError, match="at least 4 times"):
        isthmus.kernel_evolution(parent(checkpoints=(3,)), Sgd(lr=0.2))


def test_the_whole_study_leaves_every_record(tmp_path: Path) -> None:
    net, inputs, labels = build("mlp", samples=30)
    problem = Problem(net, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:10], labels[:10]))
    options: dict[str, Any] = {"epochs": 3, "batch": 5, "spawn_times": 2, "samples": 20, "linearized": 1, "seed": 3}
    study = isthmus.kernel_evolution(problem, Sgd(lr=0.1), store=tmp_path / "runs", **options)
    again = isthmus.kernel_evolution(problem, Sgd(lr=0.1), store=tmp_path / "runs", **options)
    assert study.children.same_numbers(again.children)
    assert study.summary.same_numbers(again.summary)
    paths = study.save(tmp_path / "records")
    assert [isthmus.load_record(path).schema for path in paths] == [
        "training/history", "kernel/timeline", "evolution/spawning", "evolution/after_kernel", "evolution/linearized",
        "evolution/summary",
    ]  # fmt: skip
    kernel = study.kernel
    assert np.cos(kernel.angular_velocity * kernel.velocity_interval) == pytest.approx(
        1 - kernel.velocity * kernel.velocity_interval
    )
    shared = [(list(kernel.velocity_epoch).index(t), w) for w, t in enumerate(kernel.scan_epoch) if t in kernel.velocity_epoch]
    assert shared
    assert all(kernel.scan_velocity[:, 1, w] == pytest.approx(kernel.velocity[:, v]) for v, w in shared)


@pytest.mark.slow
def test_digits_have_no_barrier_transient() -> None:
    """The easy task on which the transition must not be found."""
    task = isthmus.builtin_task("digits")
    run = isthmus.train(task.problem, task.optimizer, epochs=8, batch=task.batch)
    steps = [run.steps[i] for i in (0, 5, 10, 15, 20)]
    record = spawning(run, steps=steps, children=3, optimizer=task.optimizer, kernel_samples=10)
    found = isthmus.find_transition("barrier", record.spawn_epoch, record.measure("barrier_train_error"), floor=0.02)
    assert found.verdict == "no transient"
