"""Self-checks of second-derivative products, run on every call unless switched off."""

from collections.abc import Callable

import torch
from torch import Tensor

from isthmus._core.errors import VerificationError
from isthmus._core.seeds import Seed
from isthmus.linops.random import gaussian
from isthmus.model.derivatives import HessianProduct, loss_gradient
from isthmus.model.problem import Problem

_SYMMETRY = {torch.float32: 2e-3, torch.float64: 1e-8}
_SLOPE = 1e-3
_SAMPLES = 32


def verify_symmetry(
    product: Callable[[Tensor], Tensor], size: int, *, seed: Seed, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> None:
    """Check ``u . A v = v . A u`` with ``v`` random and ``u = A v / |A v|``, where both sides are of size ``|A v|``.

    Raises:
        VerificationError: the two sides differ by more than rounding explains.
    """
    v = gaussian((size,), seed.child("symmetry"), dtype, device)
    image = product(v)
    norm = image.double().norm()
    if not torch.isfinite(norm):
        raise VerificationError("A second-derivative product is not finite; the loss or its derivatives overflow here.")
    if norm == 0:
        return
    u = image / norm.to(dtype)
    one, other = float(u.double() @ image.double()), float(v.double() @ product(u).double())
    if abs(one - other) > _SYMMETRY.get(dtype, 0.05) * abs(one):
        raise VerificationError(
            f"The second-derivative product is not symmetric (u.Av = {one:.8g}, v.Au = {other:.8g}). A layer's derivative is "
            "wrong under this torch build; please report the module. verify=False returns the number anyway."
        )


def verify_hessian(problem: Problem, *, seed: Seed) -> None:
    """Compare one Hessian product with a central difference of the gradient, in float64 on a few samples.

    Along a random unit direction ``v``: ``|(g(w + e v) - g(w - e v)) / 2e - H v| <= 1e-3 |H v|``. Three steps ``e`` are
    tried, because a difference that straddles a kink of ReLU is not a derivative.

    Raises:
        VerificationError: no step agrees.
    """
    few = problem.subset(slice(0, _SAMPLES)).to(torch.float64)
    v = gaussian((few.network.size,), seed.child("slope"), torch.float64, few.network.device)
    v = v / v.norm()
    exact = HessianProduct(few)(v)
    point = few.network.flat
    gradient = float(loss_gradient(few).norm())
    gaps = []
    for step in (1e-5, 1e-6, 1e-7):
        slope = (loss_gradient(few.at(point + step * v)) - loss_gradient(few.at(point - step * v))) / (2 * step)
        rounding = 64 * 2.0**-52 * gradient / step
        gaps.append(float((slope - exact).norm()))
        if gaps[-1] <= _SLOPE * float(exact.norm()) + rounding + 1e-12:
            return
    raise VerificationError(
        f"The Hessian product differs from finite differences of the gradient by {min(gaps):.3g}, against |Hv| = "
        f"{float(exact.norm()):.3g}. A layer's second derivative is wrong here; verify=False returns the number anyway."
    )
