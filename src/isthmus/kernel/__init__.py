"""Tangent kernels: the empirical kernel, distances between kernels, alignment with labels."""

from isthmus.kernel.alignment import effective_rank, label_alignment
from isthmus.kernel.distance import kernel_distance
from isthmus.kernel.infinite_width import InfiniteWidth
from isthmus.kernel.methods import Auto, JacobianContraction, Structured
from isthmus.kernel.ntk import empirical_ntk
from isthmus.kernel.ridge import KernelFit, KernelSpectrum, RidgeChoice, kernel_ridge

__all__ = [
    "Auto",
    "InfiniteWidth",
    "JacobianContraction",
    "KernelFit",
    "KernelSpectrum",
    "RidgeChoice",
    "Structured",
    "effective_rank",
    "empirical_ntk",
    "kernel_distance",
    "kernel_ridge",
    "label_alignment",
]
