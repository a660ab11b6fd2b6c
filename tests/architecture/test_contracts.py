"""The house rules that a machine can check."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import isthmus

ROOT = Path(isthmus.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
GLOBAL_DRAWS = re.compile(r"np\.random\.(?!default_rng|Generator|SeedSequence)|^from random import|torch\.(manual_seed|seed)\(")
PYTHON_DRAWS = re.compile(r"(?<![\w.])random\.(?!Random\b)")


def test_import_contracts() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT.parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_global_generators_are_left_alone(path: Path) -> None:
    if path.relative_to(ROOT) == Path("linops/random.py"):  # the fence itself
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    drawn = [line for line in lines if GLOBAL_DRAWS.search(line)]
    if "import random" in lines:
        drawn += [line for line in lines if PYTHON_DRAWS.search(line)]
    assert not drawn, drawn


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_derivatives_are_taken_in_one_place(path: Path) -> None:
    """Training steps and layer capture aside: of a network, its activations, its Taylor models, and many networks at once."""
    allowed = {
        "model/derivatives.py",
        "model/taylor.py",
        "model/populations.py",
        "model/capture.py",
        "model/tabulated.py",
        "training/loop.py",
        "training/ensemble.py",
        "model/unit_derivatives.py",
    }
    if str(path.relative_to(ROOT)) in allowed:
        return
    calls = re.findall(
        r"torch\.autograd\.(?:grad|backward)|\.backward\(|torch\.func\.(?:grad|jacrev|jacfwd|hessian|vjp|jvp)", path.read_text()
    )
    assert not calls, calls


@pytest.mark.parametrize("name", sorted(isthmus.__all__))
def test_public_names_are_documented(name: str) -> None:
    thing = getattr(isthmus, name)
    text = inspect.getdoc(thing)
    assert text and len(text) > 40
    if inspect.isfunction(thing) and [p for p in inspect.signature(thing).parameters if p != "self"]:
        assert "Args:" in text


def test_the_name_table_has_its_typing_mirror() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    mirror = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert mirror == isthmus._NAMES
    assert sorted(isthmus.__all__) == sorted(mirror)


def test_every_name_resolves_where_the_table_says() -> None:
    for name, module in isthmus._NAMES.items():
        assert hasattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = isthmus.nothing
    assert isthmus.__version__


@pytest.mark.parametrize(
    "statement",
    ["import isthmus", "import isthmus.cli.main", "import isthmus.report, isthmus.cli.render", "import isthmus.results.catalog"],
)
def test_light_parts_import_no_torch(statement: str) -> None:
    code = f"{statement}\nimport sys\nassert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)
