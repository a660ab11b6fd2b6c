"""Equivalent copies of a network: with free units, and with its units in another order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isthmus._core.seeds import Seed
from isthmus.combinatorics.pieces import Piece
from isthmus.model.network import Network
from isthmus.symmetry.expansion import widened
from isthmus.symmetry.layers import HiddenLayer, select_units


def with_free_units(network: Network, layers: Sequence[HiddenLayer], *, seed: Seed) -> tuple[Network, list[HiddenLayer]]:
    """The same function with one more unit in every hidden layer that nothing reads, its incoming vector drawn at random.

    Args:
        network: the network.
        layers: its hidden layers.
        seed: names the draws.

    Returns:
        The wider network and its layers.
    """
    wide, found = network, []
    for index, layer in enumerate(layers):
        piece = Piece((*range(layer.size), layer.size), layer.size)
        wide = widened(wide, layer, piece, seed=seed.child(index))
        found.append(layer.resized(layer.size + 1))
    return wide, found


def reordered(network: Network, layers: Sequence[HiddenLayer], *, most: int, seed: Seed) -> Network:
    """The same function with up to `most` units of every layer in a cyclic order of random units.

    Args:
        network: the network.
        layers: its hidden layers.
        most: units moved in each layer.
        seed: names the draws.
    """
    for index, layer in enumerate(layers):
        chosen = seed.child(index).numpy().permutation(layer.size)[:most]
        order = torch.arange(layer.size)
        order[chosen] = torch.from_numpy(chosen).roll(1)
        network = select_units(network, layer, order.tolist())
    return network


def few_inputs(inputs: Tensor, count: int) -> Tensor:
    """At most `count` of the inputs, evenly spread."""
    return inputs[:: max(1, len(inputs) // count)][:count]
