"""Every kind of bad input gets one clear error, exit code 2, no traceback, and leaves nothing behind."""

from pathlib import Path

import pytest

from isthmus.cli.main import main
from tests.cli.conftest import Run

#: words of the command line -> parts that the message must have: what was found, and what to do
CASES: dict[str, tuple[str, list[str]]] = {
    "missing file": ("ntk gone.py:problem", ["gone.py does not exist", "FILE.py:problem"]),
    "not python": ("ntk net.txt", ["not a Python file"]),
    "wrong function": ("ntk net.py:nothing", ["no function 'nothing'", "problem", "isthmus.Problem("]),
    "no problem": ("ntk net.py:no_problem", ["returned a int", "isthmus.Problem"]),
    "function fails": ("ntk net.py:that_fails", ["OSError", "the data file is gone"]),
    "target shapes": ("ntk net.py:shapes_that_do_not_match", ["(n, 3)", "(n, 4)", "Reshape the targets"]),
    "input shapes": ("ntk net.py:inputs_that_do_not_fit", ["(n, 5)", "first layer"]),
    "nan": ("survey net.py:nan_data", ["1 values that are NaN", "sample 3"]),
    "empty": ("survey net.py:empty_data", ["empty", "at least one sample"]),
    "integer targets": ("hessian net.py:integer_targets", ["torch.int64", "nn.CrossEntropyLoss", "targets.float()"]),
    "classes": ("ntk net.py:too_many_classes", ["0..1", "0..2"]),
    "reduction": ("ntk net.py:unknown_reduction", ["reduction='mean'", "never guesses"]),
    "memory": ("ntk net.py:many_outputs --samples 5000 --outputs full", ["GiB", "outputs='trace'"]),
    "batch norm": ("ntk net.py:batch_coupled", ["track_running_stats=True", "GroupNorm"]),
    "count": ("hessian net.py:problem -k 0", ["1..75"]),
    "samples": ("hessian net.py:problem --samples 0", ["at least 1"]),
    "both": ("survey net.py:problem --task digits", ["pass one of them"]),
    "checkpoint": ("ntk net.py:problem --checkpoint gone.safetensors", ["does not exist"]),
    "no checkpoints": ("survey net.py:problem --checkpoints nowhere", ["holds no checkpoints", "isthmus.Recorder"]),
    "foreign folder": ("survey net.py:problem --out .", ["not empty", "--out"]),
    "render": ("render .", ["no run.json", "isthmus survey"]),
    "claim": ("claims check net.py:problem --claim nobody.knows", ["no claim 'nobody.knows'", "fort2020."]),
    "no path network": ("game net.py:problem", ["Tanh", "path network"]),
    "align checkpoints": ("align net.py:problem gone.safetensors gone.safetensors", ["gone.safetensors does not exist"]),
    "align method": ("align net.py:problem a b --method guess", ["guess", "weights"]),
    "taylor order": ("taylor net.py:problem nowhere", ["holds no checkpoints"]),
    "no series": ("complexity relu", ["kink", "tanh"]),
    "coefficients": ("complexity 1,x", ["c0,c1,c2"]),
    "target": ("learn cubes", ["no target 'cubes'", "sincos"]),
    "learner": ("learn linear --learners net9", ["no learner 'net9'", "net3"]),
    "widths": ("learn linear --width 10,wide", ["--width '10,wide'", "whole numbers"]),
    "no samples": ("learn linear --samples 1,20", ["--samples '1,20'", "at least 2"]),
    "too few to choose": ("learn linear --learners net2 --samples 4", ["held-out", "n_samples = 4"]),
    "usage": ("ntk net.py:problem --samples many", ["many", "isthmus --help"]),
    "verb": ("frobnicate", ["frobnicate", "survey"]),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_error(name: str, folder: Path, run: Run) -> None:
    words, parts = CASES[name]
    before = sorted(folder.rglob("*"))
    code, _, err = run(*words.split())
    assert code == 2
    assert "Traceback" not in err
    for part in parts:
        assert part in err, err
    assert [p for p in sorted(folder.rglob("*")) if "__pycache__" not in str(p)] == before


def test_debug_shows_the_traceback(folder: Path, run: Run) -> None:
    code, _, err = run("ntk", "net.py:that_fails", "--debug")
    assert code == 2
    assert "Traceback" in err


def test_checkpoint_of_another_network(folder: Path, run: Run) -> None:
    assert run("survey", "net.py:problem", "--scale", "smoke", "--quiet", "--no-claims", "--out", "run")[0] == 0
    checkpoint = sorted((folder / "run" / "checkpoints").glob("*.safetensors"))[0]
    code, _, err = run("hessian", "net.py:another_network", "--checkpoint", checkpoint)
    assert (code, "another network" in err) == (2, True)
    code, _, err = run("survey", "net.py:another_network", "--checkpoints", "run/checkpoints", "--out", "other")
    assert (code, "another network" in err) == (2, True)
    assert not (folder / "other").exists()
    code, _, err = run("survey", "net.py:another_network", "--out", "run")
    assert (code, "Name another folder" in err.replace("\n", " ")) == (2, True)


def test_truncated_record(folder: Path, run: Run) -> None:
    assert run("survey", "net.py:problem", "--scale", "smoke", "--quiet", "--no-claims", "--out", "run")[0] == 0
    record = folder / "run" / "records" / "kernel" / "timeline.safetensors"
    whole = record.read_bytes()
    record.write_bytes(whole[: len(whole) // 2])
    code, _, err = run("render", "run")
    assert code == 2
    assert "timeline.safetensors" in err
    assert "computes it again" in err
    # the survey treats it as missing, and computes the same numbers again
    assert run("survey", "net.py:problem", "--scale", "smoke", "--quiet", "--no-claims", "--out", "run")[0] == 0
    assert len(record.read_bytes()) > len(whole) // 2


def test_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isthmus.cli.main.app", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(["survey"])
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
