"""The verbs on a user's own file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import isthmus
from isthmus.cli.loading import load_task
from tests.cli.conftest import Run


def test_ntk_saves_what_python_computes(folder: Path, run: Run) -> None:
    code, out, _ = run("ntk", "net.py:problem", "--samples", "10", "--outputs", "full", "--out", "k.safetensors")
    assert code == 0
    assert "effective rank" in out
    problem = load_task("net.py:problem").problem
    mine = isthmus.load_record(folder / "k.safetensors").kernel
    assert np.array_equal(mine, isthmus.empirical_ntk(problem, problem.inputs[:10]).kernel)


def test_ntk_plan_computes_nothing(folder: Path, run: Run) -> None:
    code, out, _ = run("ntk", "net.py:problem", "--plan")
    assert code == 0
    assert "GFLOP" in out
    assert "MiB" in out
    assert "effective rank" not in out


def test_game_asks_three_questions(folder: Path, run: Run) -> None:
    code, out, _ = run("game", "net.py:relu_network", "--exact", "--out", "c.safetensors")
    assert code == 0
    assert "loss - least loss within path norms" in out
    bound, exact = (isthmus.PathGame(load_task("net.py:relu_network").problem).certificate(prices=p) for p in ("bound", "exact"))
    assert isthmus.load_record(folder / "c.safetensors").gap == pytest.approx(exact.gap)
    assert exact.gap <= bound.gap
    for words, part in (("flows", "path_kernel_trace"), ("removals --on heldout", "helped")):
        code, out, _ = run("game", "net.py:relu_network", "--ask", *words.split())
        assert code == 0
        assert part in out
    assert "branch and bound" in run("game", "net.py:relu_network", "--plan")[1]


def test_hessian_json(folder: Path, run: Run) -> None:
    code, out, _ = run("hessian", "net.py:problem", "-k", "3", "--json")
    answer = json.loads(out)
    assert code == 0
    assert len(answer["values"]) == 3
    assert all(answer["converged"])
    assert answer["provenance"]["dtype"] == "float64"


def test_hessian_density(folder: Path, run: Run) -> None:
    code, out, _ = run("hessian", "net.py:problem", "--density")
    assert code == 0
    assert "stochastic Lanczos quadrature" in out


def test_hessian_layers(folder: Path, run: Run) -> None:
    code, out, _ = run("hessian", "net.py:problem", "--layers", "-k", "2")
    assert code == 0
    assert out.count("; trace ") == 2


def test_survey_replays_a_users_own_loop_and_barrier_reads_it(folder: Path, run: Run) -> None:
    task = load_task("net.py:problem")
    isthmus.train(task.problem, task.optimizer, epochs=2, batch=20, store=folder / "kept")
    words = ["survey", "net.py:problem", "--checkpoints", "kept", "--scale", "smoke", "--quiet", "--no-claims", "--out", "run"]
    assert run(*words)[0] == 0
    page = (folder / "run" / "atlas.html").read_text()
    assert "replayed from the checkpoints" in page
    first, last = (sorted((folder / "kept").glob("*.safetensors"))[i] for i in (0, -1))
    code, out, _ = run("barrier", "net.py:problem", first, last)
    assert code == 0
    assert "train_loss" in out


def test_survey_json_and_claims(folder: Path, run: Run) -> None:
    code, out, _ = run("survey", "net.py:problem", "--scale", "smoke", "--json", "--out", "run", "--no-claims")
    answer = json.loads(out)
    assert code == 0
    assert Path(answer["atlas"]).is_file()
    assert "final training loss" in answer["headlines"]["training"]


def test_claims_list_and_check(folder: Path, run: Run) -> None:
    code, out, _ = run("claims", "list")
    assert code == 0
    assert "permutation" in out
    name = "fort2020.permutation_invariant_kernel"
    code, out, _ = run("claims", "check", "net.py:problem", "--claim", name, "--out", "results")
    assert code == 0
    assert "control: fails" in out
    assert isthmus.load_record(folder / "results" / f"{name}.safetensors").verdict == "holds"


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_starts_in_under_a_second_of_cpu(words: list[str]) -> None:
    command = [sys.executable, "-c", "from isthmus.cli.main import main; main()", *words]
    subprocess.run(command, check=True, capture_output=True)  # compiles what is not compiled yet
    before = os.times()
    subprocess.run(command, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    assert cpu < 1


def test_help_names_every_verb(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for verb in ("survey", "render", "ntk", "hessian", "barrier", "claims"):
        assert verb in out


def test_align_moves_the_units_of_one_checkpoint_to_another(folder: Path, run: Run) -> None:
    task = load_task("net.py:problem")
    for seed in range(2):
        isthmus.train(task.problem, task.optimizer, epochs=2, batch=20, seed=seed, store=folder / f"run{seed}")
    ends = [sorted((folder / f"run{seed}").glob("*.safetensors"))[-1] for seed in range(2)]
    code, out, _ = run("align", "net.py:problem", *ends, "--out", "a.safetensors", "--weights", "aligned.safetensors")
    assert code == 0
    assert "8 x dense neuron" in out and "free: sign" in out and "train_loss   barrier over the chord" in out
    assert isthmus.load_record(folder / "a.safetensors").names == ["0"]
    assert (folder / "aligned.safetensors").is_file()
    code, out, _ = run("align", "net.py:problem", *ends, "--method", "sinkhorn", "--plan")
    assert code == 0 and "Sinkhorn matching" in out and "distance" not in out


def test_taylor_reads_a_runs_checkpoints(folder: Path, run: Run) -> None:
    problem = load_task("net.py:problem").problem
    isthmus.train(problem, epochs=2, store=folder / "checkpoints")
    code, out, _ = run("taylor", "net.py:problem", "checkpoints", "--out", "o.safetensors")
    assert code == 0
    assert "unexplained by order 1" in out
    assert "remainder exponents" in out
    assert isthmus.load_record(folder / "o.safetensors").parts[-1] == "rest"


def test_complexity_needs_no_network(run: Run) -> None:
    code, out, _ = run("complexity", "0,0,1", "--constant", "1", "--json")
    assert code == 0
    assert 10 ** json.loads(out)["log10 C_s"] == pytest.approx(3**1.75)
    assert "degree of the Taylor polynomial within 0.1" in run("complexity", "tanh")[1]
    assert "leap" in run("complexity", "leap:1+1.2")[1]


def test_learn_compares_learners(folder: Path, run: Run) -> None:
    words = "learn linear --learners ntk2,gaussian --samples 20,40 --seeds 2 --width 5,10 --out c.safetensors"
    code, out, _ = run(*words.split())
    assert code == 0
    assert "2-layer tangent kernel, width 5" in out
    record = isthmus.load_record(folder / "c.safetensors")
    assert (record.seeds, len(record.learners)) == (2, 3)
