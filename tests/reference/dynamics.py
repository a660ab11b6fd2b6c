"""Optimizer dynamics the slow way: torch's own optimizers on an explicit linear model, plain loops, scipy's integrator."""

import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm


def torch_run(values, start, steps, *, momenta=None, optimizer=torch.optim.SGD, **options):
    """A torch optimizer on sum_i lambda_i z_i^2 / 2, one scalar parameter a mode; momenta[k] is set before step k + 1."""
    z = torch.tensor(np.asarray(start, dtype=np.float64), requires_grad=True)
    lam = torch.tensor(np.asarray(values, dtype=np.float64))
    made = optimizer([z], **options)
    seen = [z.detach().numpy().copy()]
    for k in range(steps):
        if momenta is not None:
            made.param_groups[0]["momentum"] = momenta[k]
        made.zero_grad()
        (0.5 * (lam * z * z).sum()).backward()
        made.step()
        seen.append(z.detach().numpy().copy())
    return np.array(seen)


def canonical_nesterov(x, d, steps):
    """z_k = (1 - x)[(1 + beta_k) z_{k-1} - beta_k z_{k-2}], beta_k = (k - 1)/(k + d - 1)."""
    z = [1.0, 1.0 - x]
    for k in range(2, steps + 1):
        beta = (k - 1) / (k + d - 1)
        z.append((1 - x) * ((1 + beta) * z[-1] - beta * z[-2]))
    return np.array(z[: steps + 1])


def quasi_hyperbolic(lam, lr, nu, beta, steps):
    z, m, seen = 1.0, 0.0, [1.0]
    for _ in range(steps):
        g = lam * z
        m = beta * m + (1 - beta) * g
        z -= lr * ((1 - nu) * g + nu * m)
        seen.append(z)
    return np.array(seen)


def two_momentum(lam, lr, beta1, beta2, steps):
    w = [1.0, 1.0, 1.0]
    for _ in range(steps):
        w.append(w[-1] + beta1 * (w[-1] - w[-2]) + beta2 * (w[-2] - w[-3]) - lr * lam * w[-1])
    return np.array(w[2:])


def integrate(damping, stiffness, start, times):
    """z'' = -damping(t) z' - stiffness(t) z from start = (t0, z, z'), at times >= t0."""
    t0, z0, v0 = start
    found = solve_ivp(
        lambda t, s: [s[1], -damping(t) * s[1] - stiffness(t) * s[0]],
        (t0, times[-1]), [z0, v0], method="DOP853", rtol=1e-11, atol=1e-13, t_eval=times,
    )  # fmt: skip
    return found.y[0]


def linear_model_run(network, inputs, targets, loss, make, steps, test=None):
    """A torch optimizer on f_0 + J (w - w_0) with a dense Jacobian by central differences; outputs at every step."""
    names, shapes = zip(*[(k, v.shape) for k, v in network.named_parameters()], strict=True)
    sizes = [shape.numel() for shape in shapes]
    start = torch.cat([p.detach().reshape(-1) for p in network.parameters()])

    def outputs(flat, x):
        parts = {n: part.view(s) for n, part, s in zip(names, flat.split(sizes), shapes, strict=True)}
        with torch.no_grad():
            return torch.func.functional_call(network, parts, (x,))

    def dense(x):
        columns = []
        for index in range(len(start)):
            step = torch.zeros_like(start)
            step[index] = 1e-6
            columns.append((outputs(start + step, x) - outputs(start - step, x)).reshape(-1) / 2e-6)
        return torch.stack(columns, dim=1)

    base, slope = outputs(start, inputs), dense(inputs)
    parameters = [torch.nn.Parameter(part.clone().view(s)) for part, s in zip(start.split(sizes), shapes, strict=True)]
    optimizer = make(parameters)
    seen = []
    for _ in range(steps + 1):
        move = torch.cat([p.reshape(-1) for p in parameters]) - start
        now = base + (slope @ move).view(base.shape)
        seen.append(now.detach().numpy().copy())
        optimizer.zero_grad()
        loss(now, targets).backward()
        optimizer.step()
    return np.array(seen), slope.numpy()


def r20():
    """The note's problem R20: 20 unit vectors in dimension 10, Gaussian targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 10))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, rng.standard_normal(20)


def first_layer_gram(x):
    """Infinite-width kernel of the first layer of a two-layer ReLU network on unit vectors, rho (pi - theta) / (2 pi)."""
    n = len(x)
    found = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            theta = 2 * np.arctan2(np.linalg.norm(x[i] - x[j]), np.linalg.norm(x[i] + x[j]))
            found[i, j] = x[i] @ x[j] * (np.pi - theta) / (2 * np.pi)
    return found


def linear_flow(network, inputs, targets, times, friction=None):
    """Half the sum of squares of a linear network by matrix exponentials: w' = -grad L, or w'' + b w' = -grad L from rest.

    The state is (w - w*, w') in the coordinates of one weight row and a bias; ``(t, p)``.
    """
    rows = torch.cat([inputs, torch.ones(len(inputs), 1, dtype=inputs.dtype)], 1).numpy()
    hessian, slope = rows.T @ rows, rows.T @ targets.numpy()[:, 0]
    start = torch.cat([p.detach().reshape(-1) for p in network.parameters()]).numpy()
    best, size = np.linalg.solve(hessian, slope), len(start)
    if friction is None:
        return np.stack([best + expm(-hessian * t) @ (start - best) for t in times])
    block = np.block([[np.zeros((size, size)), np.eye(size)], [-hessian, -friction * np.eye(size)]])
    rest = np.concatenate([start - best, np.zeros(size)])
    return np.stack([best + (expm(block * t) @ rest)[:size] for t in times])


def small_step_descent(module, inputs, targets, loss, lr, steps, parts):
    """Plain gradient descent with lr / parts; the flat parameters after every `parts` small steps."""
    seen = [torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy()]
    for _ in range(steps):
        for _ in range(parts):
            grads = torch.autograd.grad(loss(module(inputs), targets), list(module.parameters()))
            with torch.no_grad():
                for p, g in zip(module.parameters(), grads, strict=True):
                    p -= lr / parts * g
        seen.append(torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy())
    return np.stack(seen)


def effective_hessian_values(module, inputs, targets, loss, weights):
    """Eigenvalues of P^{-1/2} H P^{-1/2}, H by nested autograd over one flat vector, largest first."""
    names, shapes = zip(*[(k, v.shape) for k, v in module.named_parameters()], strict=True)
    sizes = [shape.numel() for shape in shapes]
    start = torch.cat([p.detach().reshape(-1) for p in module.parameters()])

    def value(flat):
        parts = {n: part.view(s) for n, part, s in zip(names, flat.split(sizes), shapes, strict=True)}
        return loss(torch.func.functional_call(module, parts, (inputs,)), targets)

    hessian = torch.autograd.functional.hessian(value, start)
    root = weights.rsqrt()
    return torch.linalg.eigvalsh(root[:, None] * hessian * root).flip(0).numpy()
