"""`isthmus surface`, and curves from `isthmus barrier`."""

from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.cli.loading import load_task
from tests.cli.conftest import Run


@pytest.fixture
def trained(folder: Path) -> Path:
    """Checkpoints of a short run."""
    task = load_task("net.py:problem")
    isthmus.train(task.problem, task.optimizer, epochs=2, batch=20, store=folder / "run")
    return folder / "run"


def test_a_plane_is_saved_and_drawn(folder: Path, run: Run) -> None:
    code, out, _ = run("surface", "net.py:problem", "--points", "5", "--out", "p.safetensors", "--figure", "p.svg")
    assert code == 0
    assert "drawn: p.svg" in out
    problem = load_task("net.py:problem").problem
    mine = isthmus.load_record(folder / "p.safetensors")
    assert np.array_equal(mine.loss, isthmus.loss_plane(problem, isthmus.random_directions(problem), points=5).loss)
    assert (folder / "p.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("--along hessian --points 3", "unit Hessian eigenvectors"),
        ("--run run --points 3", "principal directions of"),
        ("--through run/00000000.safetensors run/00000002.safetensors run/00000006.safetensors --points 3", "through 3 networks"),
        ("--through run/00000000.safetensors run/00000006.safetensors --points 3", "at 3 positions"),
        ("--line --span 2 --points 4 --figure line.png", "at 4 positions"),
        ("--adaptive 90 --data test --samples 30", "90 points in"),
        ("--normalize layer --points 3 --bn keep", "normalized per parameter"),
    ],
)
def test_every_way_to_choose_the_directions(words: str, part: str, trained: Path, run: Run) -> None:
    code, out, _ = run("surface", "net.py:problem", *words.split())
    assert code == 0, out
    assert part in out


def test_a_curve_is_trained_drawn_and_compared_with_the_line(folder: Path, trained: Path, run: Run) -> None:
    ends = [str(trained / f"{step:08d}.safetensors") for step in (6, 0)]
    words = ["--curve", "polygon", "--bends", "2", "--points", "3", "--figure", "c.png", "--out", "c.safetensors"]
    code, out, _ = run("barrier", "net.py:problem", *ends, *words)
    assert code == 0
    assert "on the straight line" in out
    found = isthmus.load_record(folder / "c.safetensors")
    assert (found.kind, found.bends.shape[0], found.steps) == ("polygon", 2, 9)
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")
    assert "over the chord" in run("barrier", "net.py:problem", *ends)[1]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("surface net.py:problem --figure plane.txt", "one of .svg, .png, .pdf"),
        ("surface net.py:problem --points 1", "at least 2 points"),
        ("surface net.py:problem --line --points 1", "at least 2 points"),
        ("surface net.py:problem --span -1", "positive half-width"),
        ("surface net.py:problem --run nowhere", "holds no checkpoints"),
        ("surface net.py:problem --run run --through a b", "give one of them"),
        ("surface net.py:problem --through run/00000000.safetensors", "two checkpoints for a line"),
        ("surface net.py:problem --adaptive 10", "first grid takes 9 x 9"),
        ("surface net.py:problem --along sideways", "Invalid value"),
        ("surface net.py:shapes_that_do_not_match", "MSELoss would broadcast"),
        ("surface net.py:batch_coupled --along hessian", "mixes examples"),
        ("barrier net.py:problem run/00000000.safetensors run/00000006.safetensors --figure c.png", "add --curve"),
        (
            "barrier net.py:problem run/00000000.safetensors run/00000006.safetensors --curve bezier --bends 0",
            "at least one bend",
        ),
    ],
)
def test_bad_requests_end_with_one_line_and_code_2(words: str, part: str, trained: Path, run: Run) -> None:
    code, out, err = run(*words.split())
    assert code == 2
    assert part in " ".join(err.split())
    assert not out
    assert not list(trained.parent.glob("*.png"))
