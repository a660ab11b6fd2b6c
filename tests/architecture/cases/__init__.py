"""One file a room: CASES (name -> a call of it with the user's module) and WITHOUT (names that never see a module)."""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

CASES: dict[str, Callable[[nn.Module, Path], Any]] = {}
WITHOUT: set[str] = set()
for _found in pkgutil.iter_modules(__path__):
    _room = importlib.import_module(f"{__name__}.{_found.name}")
    CASES |= _room.CASES
    WITHOUT |= _room.WITHOUT
