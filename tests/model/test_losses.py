"""Losses: the split into total and normalizer reproduces torch, whole and in parts."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from isthmus._core.errors import DtypeError, InputError, ShapeError
from isthmus.model.losses import understand
from isthmus.model.problem import Problem

CROSS_ENTROPIES = [
    nn.CrossEntropyLoss(),
    nn.CrossEntropyLoss(reduction="sum"),
    nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5])),
    nn.CrossEntropyLoss(ignore_index=1),
    nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.2),
]


@pytest.mark.parametrize("loss", CROSS_ENTROPIES)
def test_cross_entropy_in_parts_is_torch(loss: nn.CrossEntropyLoss) -> None:
    logits, labels = torch.randn(9, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 0, 2])
    ours = understand(loss)
    parts = sum(ours.total(logits[s], labels[s]) for s in (slice(0, 4), slice(4, 9))) / ours.normalizer(labels)
    torch.testing.assert_close(parts, loss(logits, labels))
    torch.testing.assert_close(ours(logits, labels), loss(logits, labels))


def test_cross_entropy_of_sequences_and_of_probabilities() -> None:
    logits, labels = torch.randn(4, 3, 5), torch.randint(0, 3, (4, 5))
    torch.testing.assert_close(understand(nn.CrossEntropyLoss())(logits, labels), nn.CrossEntropyLoss()(logits, labels))
    soft = torch.randn(4, 3).softmax(1)
    torch.testing.assert_close(
        understand(nn.CrossEntropyLoss())(logits[..., 0], soft), nn.CrossEntropyLoss()(logits[..., 0], soft)
    )


@pytest.mark.parametrize(("reduction", "name"), [("mean", "mse_entries"), ("sum", "sum")])
def test_mse_names_its_reduction(reduction: str, name: str) -> None:
    loss = understand(nn.MSELoss(reduction=reduction))
    f, y = torch.randn(5, 2), torch.randn(5, 2)
    assert loss.name == name
    torch.testing.assert_close(loss(f, y), nn.MSELoss(reduction=reduction)(f, y))


def test_mse_never_broadcasts() -> None:
    with pytest.raises(ShapeError, match=r"targets\[:, None\]"):
        Problem(nn.Linear(3, 1), torch.randn(5, 3), torch.randn(5), nn.MSELoss())


def test_integer_targets_for_mse_are_refused() -> None:
    with pytest.raises(DtypeError, match="CrossEntropyLoss"):
        Problem(nn.Linear(3, 1), torch.randn(5, 3), torch.zeros(5, 1, dtype=torch.int64), nn.MSELoss())


def test_labels_beyond_the_outputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"0\.\.2"):
        Problem(nn.Linear(3, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 3, 0]), nn.CrossEntropyLoss())


def test_a_callable_needs_its_reduction() -> None:
    with pytest.raises(InputError, match="reduction='mean'"):
        understand(lambda f, y: (f - y).abs().mean())
    with pytest.raises(InputError, match="reduction"):
        understand(nn.CrossEntropyLoss(reduction="none"))


def test_a_wrongly_stated_reduction_is_found_out() -> None:
    data = torch.randn(6, 3), torch.randn(6, 2)
    Problem(nn.Linear(3, 2), *data, functional.l1_loss, reduction="mean")
    with pytest.raises(InputError, match="not a sum over samples"):
        Problem(nn.Linear(3, 2), *data, functional.l1_loss, reduction="sum")
