"""A user's FILE.py:function as a task."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from isthmus._core.errors import InputError, IsthmusError
from isthmus.model.data import Sgd, Task
from isthmus.model.problem import Problem

EXAMPLE = "def problem():\n    return isthmus.Problem(model, inputs, targets, torch.nn.CrossEntropyLoss())"


def load_task(target: str) -> Task:
    """Run ``FILE.py:function`` and read the file's optional ``optimizer(params)``, ``EPOCHS`` and ``BATCH``.

    Args:
        target: path of a Python file, a colon, and the name of a function that returns a Problem (``problem`` when
            the name is left out).

    Raises:
        InputError: the file or function is missing, fails, or returns something else.
    """
    path, _, name = target.rpartition(":") if ":" in target else (target, "", "problem")
    module = _import(Path(path))
    function = getattr(module, name, None)
    if not callable(function):
        known = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
        raise InputError(f"{path} has no function {name!r}; it defines {', '.join(known) or 'no functions'}. Write:\n{EXAMPLE}")
    problem = _call(function, path, name)
    if not isinstance(problem, Problem):
        raise InputError(
            f"{name}() in {path} returned a {type(problem).__name__}; an isthmus.Problem is needed. Write:\n{EXAMPLE}"
        )
    return Task(
        problem=problem,
        optimizer=getattr(module, "optimizer", None) or Sgd(),
        epochs=_whole(module, "EPOCHS", 30, path),
        batch=_whole(module, "BATCH", 50, path),
        description=f"{Path(path).name}:{name}",
    )


def _import(path: Path) -> ModuleType:
    if path.suffix != ".py":
        raise InputError(f"{path} is not a Python file. Pass FILE.py:problem, e.g. my_network.py:problem.")
    if not path.is_file():
        raise InputError(f"{path} does not exist (looked in {Path.cwd()}). Pass FILE.py:problem with a path from here.")
    spec = importlib.util.spec_from_file_location(f"isthmus_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be loaded as a Python module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except IsthmusError:
        raise
    except Exception as fault:
        raise InputError(f"{path} failed while it was loaded: {type(fault).__name__}: {fault}") from fault
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _call(function: Any, path: str, name: str) -> Any:
    try:
        return function()
    except IsthmusError:
        raise
    except Exception as fault:
        raise InputError(f"{name}() in {path} failed: {type(fault).__name__}: {fault}") from fault


def _whole(module: ModuleType, name: str, default: int, path: str) -> int:
    value = getattr(module, name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} in {path} must be a whole number of at least 1, found {value!r}.")
    return value
