"""The shape annotations are alive: a wrong shape stops a test, and a user's run is not slowed by checking."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from isthmus._core.seeds import Seed
from isthmus.linops.lanczos import Tridiagonal, lanczos
from isthmus.linops.operator import DenseOperator
from isthmus.linops.slq import Quadrature


def test_a_wrong_shape_is_caught() -> None:
    with pytest.raises(TypeCheckError):
        lanczos(DenseOperator(torch.eye(4)), torch.zeros(4, 2), 3, seed=Seed(0))
    with pytest.raises(TypeCheckError):
        Tridiagonal(torch.zeros(3).double(), torch.zeros(2).double(), torch.zeros(3, 7), exhausted=False)
    with pytest.raises(TypeCheckError):
        Quadrature(np.zeros((2, 3)), np.zeros((3, 3)), 0)


def test_outside_the_tests_nothing_is_checked() -> None:
    code = (
        "import sys, torch; from isthmus.linops.lanczos import Tridiagonal; t = torch.zeros(1); "
        "Tridiagonal(t, torch.zeros(2), t, exhausted=False); assert 'beartype' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
