"""The verbs on critical points: certify, grow, shrink, census, plateau."""

import json
from pathlib import Path

import pytest

from isthmus.results.catalog import load_record
from tests.cli.conftest import Run

_STEPS = """
from torch import nn
import isthmus
from isthmus.model.data import three_steps
from isthmus.model.zoo import mlp

def problem():
    data = three_steps()
    return isthmus.Problem(mlp([1, 2, 1], "tanh", output_bias=False).double(), data.train_inputs, data.train_targets, nn.MSELoss())

def deep():
    data = three_steps()
    return isthmus.Problem(mlp([1, 2, 2, 1], "tanh").double(), data.train_inputs, data.train_targets, nn.MSELoss())
"""


def test_grow_then_shrink_on_checkpoints(folder: Path, run: Run) -> None:
    code, out, _ = run("grow", "net.py:problem", "0", "--how", "compatible", "--add", "2", "--out", "wide", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["output_difference"] < 1e-6 and answer["stays_critical"]
    assert abs(sum(answer["layers"]["0"]["shares"]) - (max(answer["layers"]["0"]["origins"]) + 1)) < 1e-6
    code, out, _ = run("grow", "net.py:problem", "0", "--unit", "1", "--alpha", "0.3", "--predict")
    assert code == 0 and "splits" in out and "predicted: (" in out
    code, out, _ = run("shrink", "net.py:problem", "--tolerance", "0.9", "--json")
    answer = json.loads(out)
    assert code == 0 and answer["widths"]["0"][1] < answer["widths"]["0"][0] and not answer["exact"]


def test_certify_polish(folder: Path, run: Run) -> None:
    code, out, _ = run("certify", "net.py:problem")
    assert code == 1 and "not critical" in out and "polish" in out


def test_census_and_plateau(folder: Path, run: Run) -> None:
    (folder / "steps.py").write_text(_STEPS)
    code, out, _ = run("census", "steps.py:problem", "-w", "1", "--starts", "8", "--out", "c.safetensors")
    assert code == 0 and "0.109022742" in out and "proves" not in out and "missing" in out
    assert load_record("c.safetensors").widths == [1]
    code, out, _ = run("plateau", "steps.py:problem")
    assert code == 0 and out.startswith("step 0: loss")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("grow steps.py:problem nowhere", "Layers whose units"),
        ("grow steps.py:problem 0 --unit 0 --add 2", "2 units are to be added"),
        ("grow steps.py:problem 0 --how compatible --predict", "--predict knows split"),
        ("shrink steps.py:problem --tolerance 2", "relative distance"),
        ("census steps.py:deep", "one hidden layer"),
        ("census steps.py:problem -w 2 -w 1", "Ascending widths"),
        ("plateau steps.py:problem --checkpoints nowhere", "holds no checkpoints"),
        ("certify steps.py:problem --checkpoint gone.safetensors", "does not exist"),
    ],
)
def test_bad_input_is_one_clear_error(words: str, part: str, folder: Path, run: Run) -> None:
    (folder / "steps.py").write_text(_STEPS)
    code, _, err = run(*words.split())
    assert code == 2 and part in err.replace("\n", " ") and "Traceback" not in err
