"""Curvature of the loss: Hessian and Gauss-Newton spectra, lines, planes, curves, barriers."""

from isthmus.curvature.barrier import error_barrier
from isthmus.curvature.blocks import block_eigenvalues, curvature_blocks
from isthmus.curvature.certify import certify
from isthmus.curvature.curves import LowLossCurve, low_loss_curve
from isthmus.curvature.density import spectral_density
from isthmus.curvature.directions import (
    Directions,
    directions_through,
    given_directions,
    hessian_directions,
    random_directions,
    trajectory_directions,
)
from isthmus.curvature.eigenvalues import hessian_eigenvalues
from isthmus.curvature.lines import loss_along_line
from isthmus.curvature.operators import ggn_operator, hessian_operator
from isthmus.curvature.planes import adaptive_loss_plane, loss_plane
from isthmus.curvature.polish import polish, polish_points
from isthmus.curvature.spectrum import count_inertia, dense_hessian, hessian_spectrum

__all__ = [
    "Directions",
    "LowLossCurve",
    "adaptive_loss_plane",
    "block_eigenvalues",
    "certify",
    "count_inertia",
    "curvature_blocks",
    "dense_hessian",
    "directions_through",
    "error_barrier",
    "ggn_operator",
    "given_directions",
    "hessian_directions",
    "hessian_eigenvalues",
    "hessian_operator",
    "hessian_spectrum",
    "loss_along_line",
    "loss_plane",
    "low_loss_curve",
    "polish",
    "polish_points",
    "random_directions",
    "spectral_density",
    "trajectory_directions",
]
