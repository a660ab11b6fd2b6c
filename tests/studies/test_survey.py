"""The main job: resumable after SIGKILL with the same bits, on every kind of network."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import isthmus
from isthmus import Problem, Task
from isthmus.results.catalog import load_record
from isthmus.studies.survey import survey
from tests.model.networks import NETWORKS, build

#: the survey in a process of its own: all stages, or the first five (training, kernel, curvature, twins)
PROGRAM = """
import sys
import isthmus
from isthmus.studies.stages import STAGES
isthmus.survey(isthmus.builtin_task("teacher"), out=sys.argv[1], scale="smoke", stages=STAGES[: int(sys.argv[2])])
"""
ALL, FIRST = 99, 5


def command(out: Path, stages: int) -> list[str]:
    return [sys.executable, "-c", PROGRAM, str(out), str(stages)]


def records(run: Path) -> dict[str, Path]:
    return {str(p.relative_to(run / "records")): p for p in sorted((run / "records").rglob("*.safetensors"))}


def assert_same_run(one: Path, other: Path) -> None:
    assert records(one).keys() == records(other).keys()
    for name, path in records(one).items():
        assert load_record(path).same_numbers(load_record(other / "records" / name)), name


@pytest.fixture(scope="module", params=[ALL, FIRST], ids=["all stages", "first stages"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """A survey that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    subprocess.run(command(out, request.param), check=True, capture_output=True)
    return request.param, out


@pytest.mark.slow
@pytest.mark.parametrize(
    "sign",
    ["checkpoints/00000064.safetensors", "records/training/history.safetensors", "records/curvature/timeline.safetensors"],
)
def test_killed_and_started_again_it_ends_with_the_same_bits(sign: str, whole: tuple[int, Path], tmp_path: Path) -> None:
    (stages, undisturbed), out = whole, tmp_path / "run"
    if stages == ALL and not sign.startswith("records/curvature"):
        pytest.skip("one kill is enough for the survey with all its stages")
    job = subprocess.Popen(command(out, stages), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / sign).exists() and job.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(job.pid, signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL, "the survey ended before it could be killed"
    before = {name: path.stat().st_mtime_ns for name, path in records(out).items()}
    assert len(before) < len(records(undisturbed))
    subprocess.run(command(out, stages), check=True, capture_output=True)
    assert_same_run(undisturbed, out)
    after = records(out)
    assert all(after[name].stat().st_mtime_ns == time_of for name, time_of in before.items()), (
        "a finished part was computed again"
    )
    assert not list(out.rglob("*.tmp"))


def test_a_finished_survey_computes_nothing_again(tmp_path: Path) -> None:
    task = small_task()
    first = survey(task, out=tmp_path / "run", scale="smoke")
    again = survey(task, out=tmp_path / "run", scale="smoke")
    assert first.computed
    assert not first.found
    assert again.found == first.computed
    assert not again.computed


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path: Path) -> None:
    task = small_task()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        survey(task, out=tmp_path / name, scale="smoke", seed=seed)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    timeline = [load_record(tmp_path / name / "records/kernel/timeline.safetensors") for name in "ac"]
    assert not timeline[0].same_numbers(timeline[1])


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_kind_of_network_is_mapped(name: str, tmp_path: Path) -> None:
    module, inputs, labels = build(name, samples=24)
    task = Task(Problem(module.train(), inputs, labels, nn.CrossEntropyLoss()), sgd, epochs=2, batch=8)
    done = survey(task, out=tmp_path / "run", scale="smoke")
    assert {"history", "kernel", "sharpness", "density", "twins"} <= set(done.computed)
    page = isthmus.render(tmp_path / "run").read_text()
    assert "not measured" not in page.split("What was found")[1].split("</ul>")[0]


def test_the_numbers_of_the_record_are_those_of_the_quantities(tmp_path: Path) -> None:
    """The survey's kernel and curvature equal what the public functions give at the last checkpoint."""
    task = small_task()
    survey(task, out=tmp_path / "run", scale="smoke")
    run = isthmus.open_trajectory(tmp_path / "run" / "checkpoints", task.problem)
    sharp = load_record(tmp_path / "run/records/curvature/timeline.safetensors")
    end = run.problem_at(run.steps[-1]).to(torch.float64)
    assert sharp.values[-1, 0] == pytest.approx(isthmus.hessian_eigenvalues(end, 1, rtol=1e-6).values[0], rel=2e-3)
    history = load_record(tmp_path / "run/records/training/history.safetensors")
    outputs = end.network(end.inputs)
    assert history.train_loss[-1] == pytest.approx(float(nn.functional.cross_entropy(outputs, end.targets)), rel=1e-5)
    assert history.train_error[-1] == pytest.approx(float((outputs.argmax(1) != end.targets).double().mean()))


def sgd(parameters: object) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def small_task() -> Task:
    module, inputs, labels = build("mlp", samples=40)
    return Task(Problem(module, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:10], labels[:10])), sgd, epochs=3, batch=8)
