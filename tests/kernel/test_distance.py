"""Distances, alignments and ranks of kernels against exact arithmetic and their identities."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isthmus._core.errors import InputError, ShapeError
from isthmus.kernel import effective_rank, empirical_ntk, kernel_distance, label_alignment
from tests.model.networks import build
from tests.reference import kernels as reference

FIELDS = ("cosine_distance", "angle", "scale", "relative_change")
entries = st.floats(-10, 10, allow_subnormal=False).map(lambda x: round(x, 6))
kernels = arrays(np.float64, (3, 3), elements=entries).map(lambda a: a @ a.T + np.eye(3) * 1e-3)


def gram(n: int, seed: int, rank: int | None = None) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((n, rank or n))
    return factor @ factor.T


@given(kernels, kernels)
def test_every_number_is_exact_arithmetic_s(a: np.ndarray, b: np.ndarray) -> None:
    found, exact = kernel_distance(a, b), reference.distance(a, b)
    for name in FIELDS:
        assert getattr(found, name) == pytest.approx(exact[name], rel=1e-9, abs=1e-15 if name != "angle" else 2e-8), name


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-12])
def test_tiny_rotations_keep_their_digits(size: float) -> None:
    """1 - cosine in double precision would round all of these below 1e-8 to zero or noise."""
    a = gram(6, 0)
    turn = gram(6, 1)
    b = a + size * (turn - (turn * a).sum() / (a * a).sum() * a)
    exact = reference.distance(a, b)
    found = kernel_distance(a, b)
    rounding = (6 * 2.0**-52 / size) + 1e-12
    assert found.cosine_distance == pytest.approx(exact["cosine_distance"], rel=3 * rounding)
    assert found.angle == pytest.approx(exact["angle"], rel=3 * rounding)


@given(kernels, kernels)
def test_change_scale_and_distance_satisfy_their_identity(a: np.ndarray, b: np.ndarray) -> None:
    d = kernel_distance(a, b)
    expected = d.scale**2 - 2 * d.scale * (1 - d.cosine_distance) + 1
    assert d.relative_change**2 == pytest.approx(expected, rel=1e-9, abs=1e-12 * (1 + d.scale**2))
    assert d.cosine_distance == pytest.approx(2 * math.sin(d.angle / 2) ** 2, rel=1e-12, abs=1e-300)


@given(kernels, kernels, kernels)
def test_the_angle_is_a_metric(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    ab, bc, ac = (kernel_distance(*pair).angle for pair in ((a, b), (b, c), (a, c)))
    assert ac <= ab + bc + 1e-9
    assert kernel_distance(b, a).angle == pytest.approx(ab, rel=1e-12)
    assert kernel_distance(a, a).angle == 0


@given(kernels, st.floats(1e-3, 1e3))
def test_a_multiple_has_distance_zero_and_its_own_scale(a: np.ndarray, factor: float) -> None:
    d = kernel_distance(a, factor * a)
    assert d.cosine_distance <= 1e-30
    assert d.scale == pytest.approx(factor, rel=1e-12)
    assert d.relative_change == pytest.approx(abs(factor - 1), rel=1e-12, abs=1e-15)


def test_opposite_and_orthogonal_kernels() -> None:
    a, b = np.diag([1.0, 0]), np.diag([0.0, 1])
    assert (kernel_distance(a, b).cosine_distance, kernel_distance(a, b).angle) == pytest.approx((1, math.pi / 2))
    assert (kernel_distance(a, -a).cosine_distance, kernel_distance(a, -a).angle) == pytest.approx((2, math.pi))


def test_single_precision_kernels_are_accumulated_in_double() -> None:
    """1.2 million equal entries: a float32 sum would stall."""
    a = np.full((1100, 1100), 0.1, dtype=np.float32)
    b = a.copy()
    b[0, 0] += 1
    d = kernel_distance(a, b)
    change = float(b[0, 0]) - float(a[0, 0])
    assert d.relative_change == pytest.approx(change / (float(a[0, 0]) * 1100), rel=1e-12)


def test_records_are_compared_with_their_provenance_and_never_mixed() -> None:
    module, inputs, _ = build("mlp")
    full, trace = empirical_ntk(module, inputs), empirical_ntk(module, inputs, outputs="trace")
    assert kernel_distance(full, full).provenance == full.provenance
    with pytest.raises(InputError, match="never mix"):
        kernel_distance(full, trace)
    with pytest.raises(InputError, match="never mix"):
        kernel_distance(full, replace(full, outputs="trace"))
    with pytest.raises(ShapeError, match="same points"):
        kernel_distance(full, empirical_ntk(module, inputs[:3]))


@pytest.mark.parametrize("broken", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.full((3, 3), np.inf)])
def test_no_angle_exists_with_a_zero_or_a_non_finite_kernel(broken: np.ndarray) -> None:
    for pair in ((broken, np.eye(3)), (np.eye(3), broken)):
        with pytest.raises(InputError, match="zero or not finite"):
            kernel_distance(*pair)


@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("kind", ["classes", "vector", "matrix"])
def test_alignment_is_its_definition(kind: str, centered: bool) -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 0, 1, 2, 5, 5])
    targets, columns = {
        "classes": (labels, np.stack([labels == c for c in (0, 1, 2, 5)], axis=1).astype(float)),
        "vector": (v := rng.standard_normal(8), v[:, None]),
        "matrix": (m := rng.standard_normal((8, 3)), m),
    }[kind]
    kernel = gram(8, 1)
    expected = reference.alignment(kernel, columns, centered)
    for form in (targets, torch.from_numpy(targets)):
        assert label_alignment(kernel, form, centered=centered) == pytest.approx(expected, rel=1e-12)


def test_alignment_reads_a_full_kernel_as_its_trace() -> None:
    module, inputs, targets = build("mlp", samples=8)
    full, trace = empirical_ntk(module, inputs), empirical_ntk(module, inputs, outputs="trace")
    assert label_alignment(full, targets) == pytest.approx(label_alignment(trace, targets), rel=1e-10)
    assert label_alignment(full.kernel, targets) == pytest.approx(label_alignment(trace.matrix, targets), rel=1e-10)
    assert effective_rank(full) == pytest.approx(effective_rank(trace), rel=1e-8)


@given(st.floats(0.1, 10), st.floats(0, 10))
def test_centered_alignment_ignores_scale_and_shift(scale: float, shift: float) -> None:
    kernel, labels = gram(7, 2), np.array([0, 1, 0, 1, 1, 0, 2])
    assert label_alignment(scale * kernel + shift, labels) == pytest.approx(label_alignment(kernel, labels), rel=1e-9)


def test_alignment_is_one_for_the_labels_own_kernel_and_nan_for_one_class() -> None:
    y = np.random.default_rng(0).standard_normal((6, 2))
    for centered in (True, False):
        assert label_alignment(y @ y.T, y, centered=centered) == pytest.approx(1)
    assert math.isnan(label_alignment(gram(4, 0), np.zeros(4, dtype=int)))
    with pytest.raises(ShapeError, match="4 samples and there are 3 targets"):
        label_alignment(gram(4, 0), np.zeros(3))


@given(arrays(np.float64, 5, elements=st.floats(0, 100, allow_subnormal=False)))
def test_effective_rank_is_exact_arithmetic_s(values: np.ndarray) -> None:
    assume(values.max() > 1e-3)
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))
    kernel = (basis * values) @ basis.T
    kernel = (kernel + kernel.T) / 2
    found = effective_rank(kernel)
    assert found == pytest.approx(reference.effective_rank(values), rel=1e-9)
    assert 1 - 1e-12 <= found <= 5 + 1e-12


def test_effective_rank_of_the_identity_and_of_nothing() -> None:
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert effective_rank(np.ones((4, 4))) == pytest.approx(1)
    with pytest.raises(InputError, match="no positive eigenvalue"):
        effective_rank(np.zeros((3, 3)))
    with pytest.raises(ShapeError, match="square"):
        effective_rank(np.zeros((3, 4)))
