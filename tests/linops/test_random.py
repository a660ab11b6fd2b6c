"""Random tensors: laws, repeatability, and the fence around global generators."""

import random

import numpy as np
import pytest
import torch
from scipy import stats

from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng, gaussian, rademacher


def state() -> tuple:
    return random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes()


def test_laws() -> None:
    draws = gaussian((20_000,), Seed(0), torch.float64).numpy()
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    signs = rademacher((20_000,), Seed(0), torch.float32)
    assert signs.unique().tolist() == [-1.0, 1.0]
    assert abs(float(signs.mean())) < 5 / np.sqrt(20_000)


def test_draws_repeat_and_leave_every_global_generator_alone() -> None:
    before = state()
    for draw in (gaussian, rademacher):
        assert torch.equal(draw((5, 2), Seed(3), torch.float64), draw((5, 2), Seed(3), torch.float64))
        assert not torch.equal(draw((50,), Seed(3), torch.float64), draw((50,), Seed(4), torch.float64))
    assert state() == before


def test_the_fence_repeats_what_is_inside_and_restores_what_is_outside() -> None:
    before, drawn = state(), []
    for _ in range(2):
        with forked_rng(Seed(1)):
            drawn.append((random.random(), np.random.rand(), float(torch.rand(()))))
        assert state() == before
    assert drawn[0] == drawn[1]


def test_the_fence_holds_when_the_block_raises() -> None:
    before = state()
    with pytest.raises(KeyError), forked_rng(Seed(1)):
        random.random(), np.random.rand(), torch.rand(())
        raise KeyError
    assert state() == before
