"""No public function changes the user's module, its data, the global generators or torch's settings."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import isthmus
from tests.architecture.cases import CASES, WITHOUT
from tests.architecture.user import data, user_module


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Everything that must be the same afterwards, as comparable bytes and values."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    inputs, targets = data()
    return {
        "values": {k: t.detach().numpy().tobytes() for k, t in tensors.items()},
        "storage": {k: t.data_ptr() for k, t in tensors.items()},
        "gradients": {k: None if p.grad is None else p.grad.numpy().tobytes() for k, p in module.named_parameters()},
        "trainable": {k: p.requires_grad for k, p in module.named_parameters()},
        "modes": [sub.training for sub in module.modules()],
        "hooks": [len(sub._forward_hooks) + len(sub._forward_pre_hooks) + len(sub._backward_hooks) for sub in module.modules()],
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes(),
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "autograd": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
        "data": (inputs.numpy().tobytes(), targets.numpy().tobytes()),
    }


def test_every_public_name_is_covered() -> None:
    assert set(isthmus.__all__) == set(CASES) | WITHOUT


@pytest.mark.parametrize("name", sorted(CASES))
def test_user_module_is_untouched(name: str, tmp_path: Path) -> None:
    module = user_module()
    before = snapshot(module)
    CASES[name](module, tmp_path)
    assert snapshot(module) == before
