"""The tensors of a network seen unit by unit: one row for each unit of a layer."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from isthmus.model.units import Slot, unit_rows

State = dict[str, Tensor]


def rows_at(state: Mapping[str, Tensor], slots: Sequence[Slot], size: int) -> Tensor:
    """What belongs to each unit at some slots, ``(size, entries)``, slot after slot."""
    return torch.cat([unit_rows(state[slot.tensor], slot, size) for slot in slots], dim=1)


def with_rows(state: Mapping[str, Tensor], slots: Sequence[Slot], size: int, rows: Tensor) -> State:
    """The state with other rows at these slots; the inverse of `rows_at`."""
    changed, start = dict(state), 0
    for slot in slots:
        tensor = changed[slot.tensor].movedim(slot.axis, 0).clone()
        places = slot.entries(size).to(tensor.device)
        width = places.shape[1] * tensor[0].numel()
        tensor[places] = rows[:, start : start + width].reshape(*places.shape, *tensor.shape[1:])
        changed[slot.tensor] = tensor.movedim(0, slot.axis)
        start += width
    return changed


def row_distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distances between rows by differences, exact for near-equal rows (the usual expansion loses half the digits)."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
