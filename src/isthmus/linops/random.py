"""Random tensors from named seeds, and a fence around code that draws from global generators."""

import contextlib
import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from isthmus._core.seeds import Seed


def generator(seed: Seed, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator at this seed."""
    made = torch.Generator(device=device)
    made.manual_seed(seed.integer)
    return made


def gaussian(shape: Sequence[int], seed: Seed, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Independent N(0, 1) entries, drawn on the CPU so that every device sees the same numbers."""
    return torch.randn(*shape, generator=generator(seed), dtype=dtype).to(device)


def rademacher(shape: Sequence[int], seed: Seed, dtype: torch.dtype, device: torch.device | str = "cpu") -> Tensor:
    """Independent signs, +1 or -1 with equal probability."""
    bits = torch.randint(0, 2, tuple(shape), generator=generator(seed), dtype=torch.int8)
    return (2 * bits - 1).to(device=device, dtype=dtype)


@contextlib.contextmanager
def forked_rng(seed: Seed) -> Iterator[None]:
    """Run a block with the global generators of torch, numpy and python at `seed`, and restore them after it."""
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed.integer)
        np.random.seed(seed.integer % 2**32)
        random.seed(seed.integer)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)
