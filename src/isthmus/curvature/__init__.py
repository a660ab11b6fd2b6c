"""Curvature of the loss: Hessian and Gauss-Newton spectra, lines, barriers."""

from isthmus.curvature.barrier import error_barrier
from isthmus.curvature.blocks import block_eigenvalues, curvature_blocks
from isthmus.curvature.certify import certify
from isthmus.curvature.density import spectral_density
from isthmus.curvature.eigenvalues import hessian_eigenvalues
from isthmus.curvature.lines import loss_along_line
from isthmus.curvature.operators import ggn_operator, hessian_operator
from isthmus.curvature.polish import polish, polish_points
from isthmus.curvature.spectrum import count_inertia, dense_hessian, hessian_spectrum

__all__ = [
    "block_eigenvalues",
    "certify",
    "count_inertia",
    "curvature_blocks",
    "dense_hessian",
    "error_barrier",
    "ggn_operator",
    "hessian_eigenvalues",
    "hessian_operator",
    "hessian_spectrum",
    "loss_along_line",
    "polish",
    "polish_points",
    "spectral_density",
]
