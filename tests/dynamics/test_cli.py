import json
import textwrap

import pytest

import isthmus
from isthmus.cli.loading import load_task
from isthmus.cli.main import main
from isthmus.results.optimizers import Regime


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(
        textwrap.dedent("""
            import isthmus, torch
            from torch import nn

            def problem():
                torch.manual_seed(0)
                x = torch.randn(20, 5)
                y = torch.sin(x.sum(1, keepdim=True))
                return isthmus.Problem(nn.Sequential(nn.Linear(5, 30), nn.Tanh(), nn.Linear(30, 1)), x, y, nn.MSELoss(), test=(x, y))

            def optimizer(parameters):
                return torch.optim.SGD(parameters, lr=0.2, momentum=0.9)

            def steep():
                return problem()
        """)
    )
    return path


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_predict(file, capsys, tmp_path):
    code, out, _ = run(capsys, "predict", file, "--steps", 50, "--test", "--out", tmp_path / "p.safetensors")
    assert code == 0 and "after 50 steps" in out and "error below 0.1" in out
    assert len(isthmus.load_record(tmp_path / "p.safetensors").loss) == 51
    code, out, _ = run(capsys, "predict", file, "--steps", 5, "--json", "--view", "ode")
    assert json.loads(out)["view"] == "ode"


def test_stability_exits_with_one_above_the_limit(file, capsys, tmp_path):
    code, out, _ = run(capsys, "stability", file)
    assert code == 0 and "stable: every mode" in out
    file.write_text(file.read_text().replace("lr=0.2", "lr=20.0"))
    code, out, _ = run(capsys, "stability", file, "--regime", "--out", tmp_path / "r.safetensors")
    assert code == 1 and "edge of stability or catapult expected" in out
    assert Regime.load(tmp_path / "r.safetensors").margin > 1


def test_tune_prints_the_ranking(file, capsys):
    code, out, _ = run(capsys, "tune", file, "--fraction", 0.1)
    assert code == 0 and "momentum" in out and "Nesterov, best" in out


def test_errors_are_one_line(file, capsys):
    code, _, err = run(capsys, "predict", file, "--steps", 0)
    assert code == 2 and err.startswith("InputError: A prediction needs at least one step")


def test_flows_of_the_network_itself(file, capsys, tmp_path):
    file.write_text(file.read_text().replace(", momentum=0.9", ""))
    code, out, _ = run(capsys, "predict", file, "--view", "gradient_flow", "--steps", 8, "--out", tmp_path / "f.safetensors")
    assert code == 0 and "stays below its limit for 8 steps" in out
    assert isthmus.load_record(tmp_path / "f.safetensors").step[-1] == 8
    code, out, _ = run(capsys, "predict", file, "--view", "central_flow", "--steps", 3)
    assert code == 0 and "after 3 steps" in out
    file.write_text(file.read_text().replace("lr=0.2", "lr=2.5"))
    code, out, _ = run(capsys, "predict", file, "--view", "gradient_flow", "--steps", 2)
    assert code == 0 and "meets the optimizer's limit by step 0" in out
    code, _, err = run(capsys, "predict", file, "--view", "central_flow", "--test")
    assert code == 2 and err.startswith("InputError: --test is predicted by")


def test_sharpness_along_a_run(file, capsys, tmp_path):
    task = load_task(f"{file}:problem")
    isthmus.train(task.problem, task.optimizer, steps=6, batch=20, store=tmp_path / "checkpoints")
    code, out, _ = run(capsys, "stability", file, "--run", tmp_path / "checkpoints", "--points", 3)
    assert code == 0 and "of the limit" in out
    code, _, err = run(capsys, "stability", file, "--run", tmp_path / "checkpoints", "--regime")
    assert code == 2 and "leave --checkpoint and --regime out" in err
    code, _, err = run(capsys, "stability", file, "--run", tmp_path / "nowhere")
    assert code == 2 and "holds no checkpoints" in err
