"""Monte-Carlo distances: right on average, with standard errors that cover the truth as often as they say."""

import numpy as np
import pytest
import torch

from isthmus._core.errors import InputError, ShapeError
from isthmus.kernel import empirical_ntk, estimate_kernel_distance, kernel_distance, ntk_operator, sketch_ntk, sketched_distance
from isthmus.linops.operator import DenseOperator
from isthmus.model.zoo import mlp
from isthmus.results.kernel import KernelDistanceEstimate


def kernels(size: int = 60, decay: float = 1.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two positive semidefinite matrices, the second a turned and grown copy of the first."""
    draw = torch.Generator().manual_seed(seed)
    weights = torch.arange(1, size + 1, dtype=torch.float64) ** -decay
    root = torch.randn(size, size, dtype=torch.float64, generator=draw) * weights
    moved = root + 0.3 * torch.randn(size, size, dtype=torch.float64, generator=draw) * weights
    return root @ root.T, 1.5 * moved @ moved.T


def test_coverage_of_the_standard_errors() -> None:
    first, second = kernels()
    exact = kernel_distance(first.numpy(), second.numpy())
    truths = {
        "cosine_distance": exact.cosine_distance,
        "scale": exact.scale,
        "relative_change": exact.relative_change,
        "norm": float(first.norm()),
        "trace": float(second.trace()),
    }
    hits = dict.fromkeys(truths, 0)
    for seed in range(200):
        found = estimate_kernel_distance(DenseOperator(first), DenseOperator(second), probes=32, seed=seed)
        values = {
            "cosine_distance": found.cosine_distance,
            "scale": found.scale,
            "relative_change": found.relative_change,
            "norm": found.norms[0],
            "trace": found.traces[1],
        }
        for name, (value, error) in values.items():
            hits[name] += abs(value - truths[name]) <= 2.04 * error  # 95 % of Student's t with 31 degrees of freedom
    for name, count in hits.items():
        assert 0.88 <= count / 200 <= 0.99, name


def test_equal_and_scaled_kernels_give_exact_zeros() -> None:
    first, _ = kernels()
    found = estimate_kernel_distance(DenseOperator(first), DenseOperator(3 * first), probes=4)
    assert abs(found.cosine_distance[0]) < 1e-14
    assert found.scale[0] == pytest.approx(3, rel=1e-12)
    assert found.scale[1] < 1e-12


def networks() -> tuple[torch.nn.Module, torch.nn.Module, torch.Tensor]:
    one, other = mlp([6, 12, 3], "tanh", seed=0).double(), mlp([6, 12, 3], "tanh", seed=0).double()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return one, other, torch.randn(10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def within(found: KernelDistanceEstimate, one: torch.nn.Module, other: torch.nn.Module, x: torch.Tensor, errors: float) -> bool:
    a, b = empirical_ntk(one, x), empirical_ntk(other, x)
    exact = kernel_distance(a, b)
    pairs = (
        (found.cosine_distance, exact.cosine_distance),
        (found.scale, exact.scale),
        (found.norms[0], np.linalg.norm(a.matrix)),
        (found.traces[1], np.trace(b.matrix)),
    )
    return all(abs(value[0] - truth) <= errors * value[1] for value, truth in pairs)


def test_probes_of_networks() -> None:
    one, other, x = networks()
    assert within(estimate_kernel_distance(ntk_operator(one, x), ntk_operator(other, x), probes=64, seed=3), one, other, x, 4)


def test_sketches_of_networks(tmp_path) -> None:
    one, other, x = networks()
    first, second = (sketch_ntk(net, x, size=48, repeats=6, seed=5) for net in (one, other))
    found = sketched_distance(first, type(second).load(second.save(tmp_path / "sketch.safetensors")))
    assert within(found, one, other, x, 5)


def test_sketch_bias_is_removed() -> None:
    """A flat spectrum, where raw sketches are far off: the mean over many sketches must be exact, the raw one's is not."""
    size, p, k = 40, 80, 32
    draw = np.random.default_rng(0)
    j = draw.normal(size=(size, p))
    moved = j + draw.normal(size=(size, p))
    exact = np.sum((j @ j.T) * (moved @ moved.T))
    from isthmus.kernel.estimates import _unbiased

    raw, corrected = [], []
    for _ in range(600):
        r = draw.normal(size=(p, k)) / np.sqrt(k)
        g = (moved @ r).T @ (j @ r)
        raw.append(np.sum(g**2))
        corrected.append(_unbiased(g))
    error = np.std(corrected, ddof=1) / np.sqrt(600)
    assert abs(np.mean(corrected) - exact) < 4 * error
    assert np.mean(raw) > 1.2 * exact


def test_wrong_input_is_named() -> None:
    one, other, x = networks()
    first, second = kernels()
    with pytest.raises(ShapeError, match="same samples"):
        estimate_kernel_distance(DenseOperator(first), DenseOperator(second[:5, :5]))
    with pytest.raises(InputError, match="two probes"):
        estimate_kernel_distance(DenseOperator(first), DenseOperator(second), probes=1)
    with pytest.raises(InputError, match="size >= 2"):
        sketch_ntk(one, x, size=1)
    with pytest.raises(InputError, match="same random matrix"):
        sketched_distance(sketch_ntk(one, x, size=4, repeats=2), sketch_ntk(other, x, size=4, repeats=2, seed=1))
