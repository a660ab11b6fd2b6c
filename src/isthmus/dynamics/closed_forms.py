"""One mode in closed form: the discrete methods at any step, and the differential equations they tend to.

All take eigenvalues (or ``x = lr * lambda``) of shape ``(mode,)`` and times of shape ``(t,)``, start at 1 at rest, and give ``(t, mode)``.
"""

import numpy as np
from scipy import special


def descent_steps(x: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Gradient descent: ``(1 - x)^k``."""
    return (1 - np.asarray(x)) ** np.asarray(steps)[:, None]


def heavy_ball_steps(x: np.ndarray, beta: float, steps: np.ndarray) -> np.ndarray:
    """Heavy ball from rest: ``z_{k+1} = (1 + beta - x) z_k - beta z_{k-1}``, ``z_1 = (1 - x) z_0``, by its two roots."""
    return _two_roots(1 + beta - np.asarray(x), np.full(np.shape(x), beta), 1 - np.asarray(x), steps)


def nesterov_steps(x: np.ndarray, beta: float, steps: np.ndarray) -> np.ndarray:
    """Nesterov in torch at constant beta: ``z_{k+1} = (1 - x) [(1 + beta) z_k - beta z_{k-1}]``, ``z_1 = (1 - (1 + beta) x) z_0``."""
    q = 1 - np.asarray(x)
    return _two_roots((1 + beta) * q, beta * q, 1 - (1 + beta) * np.asarray(x), steps)


def _two_roots(trace: np.ndarray, product: np.ndarray, first: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """``z_{k+1} = trace z_k - product z_{k-1}`` from 1 and `first`, by ``z_k = first S_k - product S_{k-1}``.

    ``S_k = (h^k - l^k) / (h - l)`` over the roots ``h, l = r e^{+-w}`` with ``r = sqrt(product)``, ``cosh w = trace / 2r``, written as
    ``h^{k-1} (1 - e^{-2kw}) / (1 - e^{-2w})``, which loses no digits at a double root.
    """
    k, r = np.asarray(steps)[:, None], np.sqrt(np.asarray(product, dtype=complex))
    single = np.abs(r) < 1e-150
    w = np.arccosh(np.where(single, 1.0, trace / np.where(single, 1.0, 2 * r)))
    high = np.where(single, trace, r * np.exp(w))
    together = np.abs(w) < 1e-12

    def powers(k: np.ndarray) -> np.ndarray:
        share = np.where(together, k, np.expm1(-2 * k * w) / np.where(together, 1.0, np.expm1(-2 * w)))
        return np.where(k > 0, high ** np.maximum(k - 1, 0) * np.where(single, 1.0, share), 0.0)

    return np.where(k == 0, 1.0, np.real(first * powers(k) - product * powers(np.maximum(k - 1, 0))))


def canonical_nesterov_steps(x: np.ndarray, d: float, steps: np.ndarray) -> np.ndarray:
    """Nesterov with the canonical schedule: ``q^{k/2} C_k^{(d/2)}(sqrt q) / C_k^{(d/2)}(1)``, ``q = 1 - x`` in [0, 1].

    C is Gegenbauer's polynomial; derived here, exact. Its limit for small steps is `nesterov_ode` (Mehler, Heine).
    """
    k, q = np.asarray(steps)[:, None], np.clip(1 - np.asarray(x), 0.0, 1.0)
    value = special.eval_gegenbauer(k, d / 2, np.sqrt(q)) / special.eval_gegenbauer(k, d / 2, 1.0)
    return q ** (k / 2) * value


def flow(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Gradient flow ``z' = -lambda z``: ``e^{-lambda t}``."""
    return np.exp(-np.asarray(values) * np.asarray(times)[:, None])


def oscillator(damping: np.ndarray, stiffness: np.ndarray, speed: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``z'' + b z' + w z = 0`` from 1 with ``z'(0) = speed``: ``e^{-bt/2} [cosh(om t) + (speed + b/2) sinh(om t) / om]``.

    ``om = sqrt(b^2/4 - w)``, complex where the mode is underdamped; written with decaying exponentials only.
    """
    t = np.asarray(times)[:, None]
    half = np.asarray(damping) / 2
    om = np.sqrt((half**2 - np.asarray(stiffness)).astype(complex))
    slow, fast = np.exp((om - half) * t), np.exp((-om - half) * t)
    small = np.abs(om * t) < 1e-6
    ratio = np.where(small, t * np.exp(-half * t), (slow - fast) / np.where(small, 1.0, 2 * om))
    return ((slow + fast) / 2 + (np.asarray(speed) + half) * ratio).real


def heavy_ball_ode(values: np.ndarray, b: float, times: np.ndarray) -> np.ndarray:
    """``z'' + b z' + lambda z = 0`` at rest."""
    values = np.asarray(values, dtype=np.float64)
    return oscillator(np.full(values.shape, b), values, np.zeros(values.shape), times)


def nesterov_ode(values: np.ndarray, d: float, times: np.ndarray) -> np.ndarray:
    """``z'' + (d/t) z' + lambda z = 0``: ``Gamma(nu + 1) (2/s)^nu J_nu(s)``, ``s = sqrt(lambda) t``, ``nu = (d - 1)/2``."""
    nu = (d - 1) / 2
    s = np.sqrt(np.asarray(values)) * np.asarray(times)[:, None]
    tiny = s < 1e-6
    safe = np.where(tiny, 1.0, s)
    value = special.gamma(nu + 1) * (2 / safe) ** nu * special.jv(nu, safe)
    return np.where(tiny, 1 - s**2 / (4 * (nu + 1)), value)


def nesterov_high_resolution(values: np.ndarray, lr: float, d: float, times: np.ndarray) -> np.ndarray:
    """``z'' + (d/t + h lambda) z' + (1 + d h/(2t)) lambda z = 0`` with ``h = sqrt(lr)``, from ``t_0 = d h/2`` on.

    There ``z = 1`` and ``z' = -h lambda``; the equation is that of Shi, Du, Jordan, Su 2018 at d = 3. In closed form
    (derived here): ``z = e^{-h lambda t/2} t^{-nu} [A J_nu(om t) + B Y_nu(om t)]``, ``om^2 = lambda (1 - lr lambda / 4)``.

    Args:
        values: eigenvalues with ``lr * lambda < 4``.
        lr: step size.
        d: schedule parameter.
        times: at least t_0.
    """
    values = np.asarray(values, dtype=np.float64)
    h, nu, t = np.sqrt(lr), (d - 1) / 2, np.asarray(times)[:, None]
    om = np.sqrt(np.maximum(values * (1 - lr * values / 4), 1e-30))
    start = d * h / 2
    s = om * start
    base = np.stack([special.jv(nu, s), special.yv(nu, s)]) * start**-nu
    slope = np.stack([special.jvp(nu, s), special.yvp(nu, s)]) * om * start**-nu - base * nu / start - base * h * values / 2
    weights = np.linalg.solve(
        np.stack([base, slope]).transpose(2, 0, 1), np.stack([np.ones_like(values), -h * values], 1)[..., None]
    )
    pair = np.stack([special.jv(nu, om * t), special.yv(nu, om * t)]) * t**-nu
    decay = np.exp(-h * values * (t - start) / 2)
    return decay * (weights[:, 0, 0] * pair[0] + weights[:, 1, 0] * pair[1])
