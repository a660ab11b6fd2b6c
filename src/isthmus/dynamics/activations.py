"""Signs of what enters the rectifiers of a network: which side of its kink every unit is on, for every sample."""

import torch
from torch import Tensor, nn

from isthmus.model.network import Network

_RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.ReLU6)


def rectifier_signs(network: Network, inputs: Tensor) -> Tensor:
    """Whether each rectifier input is positive, flattened over layers and units, ``(n, units)``; no columns without such layers.

    Only rectifiers that are modules are seen; a call of ``torch.relu`` inside a forward is not.
    """
    seen: list[Tensor] = []

    def note(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append((arguments[0] > 0).reshape(len(inputs), -1))

    hooks = [sub.register_forward_pre_hook(note) for sub in network.module.modules() if isinstance(sub, _RECTIFIERS)]
    try:
        network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(seen, dim=1) if seen else torch.zeros(len(inputs), 0, dtype=torch.bool)
