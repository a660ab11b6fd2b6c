import json
import textwrap

import pytest

import isthmus
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
