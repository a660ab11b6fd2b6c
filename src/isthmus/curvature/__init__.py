"""Curvature of the loss: Hessian and Gauss-Newton spectra, lines, barriers."""

from isthmus.curvature.barrier import error_barrier
from isthmus.curvature.density import spectral_density
from isthmus.curvature.eigenvalues import hessian_eigenvalues
from isthmus.curvature.lines import loss_along_line
from isthmus.curvature.operators import ggn_operator, hessian_operator

__all__ = [
    "error_barrier",
    "ggn_operator",
    "hessian_eigenvalues",
    "hessian_operator",
    "loss_along_line",
    "spectral_density",
]
