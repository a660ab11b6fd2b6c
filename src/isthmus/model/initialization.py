"""Drawing a network's parameters again, the way its own layers do."""

from torch import nn

from isthmus._core.errors import UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model.network import Network


def reinitialized(network: Network, seed: Seed) -> Network:
    """The same architecture with fresh parameters from each layer's ``reset_parameters``.

    Args:
        network: the architecture.
        seed: names the draw; the global generators are left alone.

    Returns:
        A new network in the same mode; buffers are fresh too.

    Raises:
        UnsupportedLayer: a layer owns parameters and has no ``reset_parameters``.
    """
    fresh = Network(network.module)
    for name, layer in fresh.module.named_modules():
        owns = any(True for _ in layer.parameters(recurse=False))
        reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
        if owns and reset is None:
            raise UnsupportedLayer(
                f"{name or 'the module'} ({type(layer).__name__}) owns parameters and has no reset_parameters(), so no "
                "fresh initialization can be drawn. Give it that method, in the way torch.nn.Linear has it."
            )
    with forked_rng(seed):
        fresh.module.apply(_reset)
    drawn = Network(fresh.module)
    drawn._modes = network._modes
    return drawn


def _reset(layer: nn.Module) -> None:
    reset = getattr(layer, "reset_parameters", None) or getattr(layer, "_reset_parameters", None)
    if reset is not None:
        reset()
