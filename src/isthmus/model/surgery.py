"""Cutting and joining units; here: permuting them."""

from typing import Literal

import torch
from torch import Tensor

from isthmus._core.errors import ShapeError, VerificationError
from isthmus._core.numerics import tolerance
from isthmus.model.network import Network
from isthmus.model.units import UnitGroup, moved_state


def permute_units(
    network: Network,
    group: UnitGroup,
    permutation: Tensor,
    *,
    tensors: Literal["all", "incoming"] = "all",
    verify_on: Tensor | None = None,
) -> Network:
    """The network with the units of a group in another order.

    Unit i of the result is unit ``permutation[i]`` of the network. With ``tensors="all"`` incoming and outgoing tensors
    move together and the function is the same; with ``"incoming"`` only the incoming ones move, which changes it (the
    contrast in tests of invariance).

    Args:
        network: the network.
        group: from `exchangeable_units`.
        permutation: ``(size,)``, each index once.
        tensors: which tensors move.
        verify_on: inputs on which the outputs must agree when all tensors move.

    Raises:
        ShapeError: not a permutation of the group's units.
        VerificationError: the outputs changed although all tensors moved.
    """
    if sorted(permutation.tolist()) != list(range(group.size)):
        raise ShapeError(
            f"A permutation of 0..{group.size - 1} was needed for {group.name}, found shape {tuple(permutation.shape)}."
        )
    slots = group.slots if tensors == "all" else (*group.incoming, *group.state)
    state = moved_state({**network.buffers, **network.parameters}, slots, permutation)
    moved = network.at({k: state[k] for k in network.parameters}, {k: state[k] for k in network.buffers})
    if verify_on is not None and tensors == "all":
        before, after = network(verify_on), moved(verify_on)
        if not torch.allclose(
            before, after, rtol=0, atol=tolerance(network.dtype, terms=4096, depth=8) * float(before.abs().max())
        ):
            raise VerificationError(
                f"Permuting the units of {group.name} changed the outputs by {float((after - before).abs().max()):.3g}."
            )
    return moved
