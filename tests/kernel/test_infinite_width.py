"""Closed forms against quadrature, values known by other routes, and finite networks of growing width."""

import numpy as np
import pytest
import torch

from isthmus._core.errors import InputError, ShapeError
from isthmus.kernel import InfiniteWidth, empirical_ntk
from isthmus.kernel.estimators import KernelRidge
from isthmus.model.zoo import ntk_mlp
from tests.reference import infinite_width as reference


@pytest.mark.parametrize("trained", ["all", "first", "last"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("erf", 1.3)])
def test_closed_form_equals_quadrature(activation: str, gain: float, bias: float, trained: str) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 3))
    kernel = InfiniteWidth(3, activation, gain, bias, trained=trained)  # pyright: ignore
    expected = reference.tangent_kernel(x, y, 3, activation, gain, bias, trained)
    assert kernel(x[None], y[None])[0, 0] == pytest.approx(expected, rel=1e-8)


def test_two_layer_values() -> None:
    """Two unit vectors 60 degrees apart: eigenvalues 1/3, 2/3 (first layer), .528834443, 1.471165557 (both layers)."""
    x = np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]])
    first, both = (InfiniteWidth(2, "relu", 1.0, 0.0, False, which)(x) for which in ("first", "all"))
    np.testing.assert_allclose(np.linalg.eigvalsh(first), [1 / 3, 2 / 3], rtol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(both), [0.528834443, 1.471165557], rtol=1e-9)


def test_random_unit_vectors_value() -> None:
    """Values from the same matrix in 40 digits (mpmath); arccos of a rounded cosine is wrong from the ninth on."""
    x = np.random.default_rng(0).standard_normal((20, 10))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(InfiniteWidth(2, "relu", 1.0, 0.0, False, "first")(x))
    np.testing.assert_allclose(values[[0, -1]], [0.12201240484941783, 1.41218091128944], rtol=1e-14)


def test_near_equal_inputs_keep_their_digits() -> None:
    """Points on an arc of 1e-7 radians: the distance of features must be proportional to the angle at every depth."""
    t = 1e-7 * np.arange(5)
    x = np.stack([np.cos(t), np.sin(t)], axis=1)
    for depth in (2, 4, 8):
        kernel = InfiniteWidth(depth, scale_inputs=False, trained="last")(x)
        np.testing.assert_allclose(np.diag(kernel), 1, rtol=1e-15)
        tangent = InfiniteWidth(depth, scale_inputs=False)(x)
        gaps = tangent[0, 0] - tangent[0]
        np.testing.assert_allclose(gaps[2:] / gaps[1], [2, 3, 4], rtol=1e-6)


@pytest.mark.parametrize(("activation", "depth"), [("relu", 2), ("relu", 4), ("erf", 3)])
def test_package_network_converges_at_the_root_of_the_width(activation: str, depth: int) -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    limit = InfiniteWidth(depth, activation)(x)  # pyright: ignore
    widths, gaps = [64, 128, 256, 512], []
    for width in widths:
        nets = [ntk_mlp(5, width, 1, depth, seed=seed, activation=activation).double() for seed in range(4)]
        kernels = [empirical_ntk(net, x, outputs="trace", verify=False).matrix for net in nets]
        gaps.append(np.sqrt(np.mean([np.linalg.norm(k - limit) ** 2 for k in kernels])) / np.linalg.norm(limit))
    slope = np.polyfit(np.log(widths), np.log(gaps), 1)[0]
    assert -0.65 < slope < -0.35
    assert gaps[-1] < 0.15


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_networks_with_biases_converge(activation: str) -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    limit = InfiniteWidth(3, activation, 1.5, 0.4)(x)  # pyright: ignore
    gaps = []
    for width in (64, 1024):
        nets = [reference.Wide(4, width, 3, activation, 1.5, 0.4, seed) for seed in range(4)]
        kernels = [empirical_ntk(net, x, outputs="trace", verify=False).matrix for net in nets]
        gaps.append(np.mean([np.linalg.norm(k - limit) for k in kernels]) / np.linalg.norm(limit))
    assert gaps[1] < gaps[0] / 2.5
    assert gaps[1] < 0.08


def test_wrong_limit_is_noticed() -> None:
    """Control: without the factor 2 of ReLU the same networks do not converge to the kernel."""
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    net = ntk_mlp(4, 2048, 1, 3, seed=0)
    kernel, wrong = empirical_ntk(net, x, outputs="trace").matrix, InfiniteWidth(3, "relu", 1.0)(x)
    assert np.linalg.norm(kernel - wrong) > 0.5 * np.linalg.norm(wrong)


def test_equispaced_circle_is_singular_and_general_points_are_not() -> None:
    t = 2 * np.pi * np.arange(12) / 12
    circle = np.stack([np.cos(t), np.sin(t)], axis=1)
    kernel = InfiniteWidth(2, "relu", 1.0, 0.0, False, "first")
    values = np.linalg.eigvalsh(kernel(circle))
    assert values[0] < 1e-14
    arc = np.stack([np.cos(t / 2), np.sin(t / 2)], axis=1)
    assert np.linalg.eigvalsh(kernel(arc))[0] > 1e-6


def test_serves_as_a_kernel_for_the_estimators() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 3))
    y = np.abs(x[:, 0]) + x[:, 1]
    assert KernelRidge(InfiniteWidth(3, bias_variance=0.1)).fit(x[:90], y[:90]).score(x[90:], y[90:]) > 0.95


def test_wrong_input_is_named() -> None:
    x = np.ones((3, 2))
    with pytest.raises(InputError, match="depth"):
        InfiniteWidth(1)
    with pytest.raises(InputError, match="closed form"):
        InfiniteWidth(2, "gelu")  # pyright: ignore
    with pytest.raises(InputError, match="trained"):
        InfiniteWidth(2, trained="some")  # pyright: ignore
    with pytest.raises(InputError, match="Variances"):
        InfiniteWidth(2, weight_variance=-1.0)
    with pytest.raises(ShapeError, match="input dimensions"):
        InfiniteWidth(2)(x, np.ones((3, 4)))
    with pytest.raises(InputError, match="zero vector"):
        InfiniteWidth(2)(0 * x)
    with pytest.raises(InputError, match="finite"):
        InfiniteWidth(2)(x * np.nan)
    assert np.isfinite(InfiniteWidth(2, bias_variance=1.0)(0 * x)).all()
