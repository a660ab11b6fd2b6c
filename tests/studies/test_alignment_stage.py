"""The survey's alignment stage: what it measures is what `align` gives, and networks without units are passed by."""

from pathlib import Path

import pytest
import torch
from torch import nn

import isthmus
from isthmus import Problem, Task
from isthmus.results.catalog import load_record
from isthmus.results.symmetry_alignment import AlignedBarriers
from isthmus.studies.stages.alignment import ALIGNMENT
from isthmus.studies.stages.twins import TWINS
from isthmus.studies.survey import survey
from tests.model.networks import build


def task_of(name: str) -> Task:
    module, inputs, labels = build(name, samples=40)
    problem = Problem(module, inputs, labels, nn.CrossEntropyLoss(), test=(inputs[:10], labels[:10]))
    return Task(problem, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), epochs=3, batch=8)


def test_the_record_holds_what_align_gives(tmp_path: Path) -> None:
    task = task_of("mlp")
    survey(task, out=tmp_path / "run", scale="smoke", stages=(TWINS, ALIGNMENT))
    found = load_record(tmp_path / "run/records/symmetry/aligned_barriers.safetensors")
    assert isinstance(found, AlignedBarriers)
    ends = [isthmus.open_trajectory(tmp_path / "run/checkpoints" / part, task.problem) for part in ("", "control-0")]
    run, other = (trajectory.problem_at(trajectory.steps[-1]) for trajectory in ends)
    direct = isthmus.align(run, other, method=isthmus.ActivationMatching()).record
    assert found.quantities == direct.quantities and found.units == (17, 2)
    assert found.chord_before[0] == pytest.approx(direct.chord_before)
    assert found.chord_after[1, 0] == pytest.approx(direct.chord_after)
    assert found.headline == (found.chord_before[:, 0].mean(), found.chord_after[0, :, 0].mean())


def test_a_network_without_exchangeable_units_is_passed_by(tmp_path: Path) -> None:
    done = survey(task_of("linear called twice"), out=tmp_path / "run", scale="smoke", stages=(TWINS, ALIGNMENT))
    assert done.computed == ("twins",)
