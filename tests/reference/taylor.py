"""Taylor expansions by the most obvious route: central differences along a direction, and the explicit Hessian."""

import torch
from torch import Tensor, nn

from tests.reference.derivatives import shifted


def difference_terms(module: nn.Module, inputs: Tensor, direction: Tensor) -> list[Tensor]:
    """``f^(j) / j!`` along the direction for j = 0, 1, 2, 3, by central differences; flattened outputs."""

    def at(step: float) -> Tensor:
        with torch.no_grad():
            return shifted(module, direction, step)(inputs).reshape(len(inputs), -1)

    h, wide = 1e-3, 1e-2
    first = (at(h) - at(-h)) / (2 * h)
    second = (at(h) - 2 * at(0) + at(-h)) / (2 * h**2)
    third = (at(2 * wide) - 2 * at(wide) + 2 * at(-wide) - at(-2 * wide)) / (12 * wide**3)
    return [at(0), first, second, third]


def hessian_form(module: nn.Module, example: Tensor, direction: Tensor) -> Tensor:
    """``d^T H_c d / 2`` for every output c of one example, with the explicit Hessian by double backward."""
    params = [p for p in module.parameters() if p.requires_grad]
    forms = []
    for value in module(example[None]).reshape(-1):
        slopes = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, params, create_graph=True)])
        rows = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(s, params, retain_graph=True, materialize_grads=True)])
            for s in slopes
        ]
        forms.append(direction @ torch.stack(rows) @ direction / 2)
    return torch.stack(forms)
