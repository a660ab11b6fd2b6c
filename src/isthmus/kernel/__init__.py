"""Tangent kernels: exact, estimated and infinitely wide; distances between them; what they learn."""

from isthmus.kernel.alignment import effective_rank, label_alignment
from isthmus.kernel.conjugate import conjugate_kernel
from isthmus.kernel.distance import kernel_distance
from isthmus.kernel.estimates import estimate_kernel_distance, sketch_ntk, sketched_distance
from isthmus.kernel.infinite_width import InfiniteWidth
from isthmus.kernel.methods import Auto, JacobianContraction, NtkVectorProducts, Structured
from isthmus.kernel.ntk import empirical_ntk
from isthmus.kernel.operator import ntk_operator
from isthmus.kernel.outputs import OutputIndex, RandomOutputs
from isthmus.kernel.ridge import KernelFit, KernelSpectrum, RidgeChoice, kernel_ridge
from isthmus.kernel.spectrum import ntk_eigenvalues

__all__ = [
    "Auto",
    "InfiniteWidth",
    "JacobianContraction",
    "KernelFit",
    "KernelSpectrum",
    "NtkVectorProducts",
    "OutputIndex",
    "RandomOutputs",
    "RidgeChoice",
    "Structured",
    "conjugate_kernel",
    "effective_rank",
    "empirical_ntk",
    "estimate_kernel_distance",
    "kernel_distance",
    "kernel_ridge",
    "label_alignment",
    "ntk_eigenvalues",
    "ntk_operator",
    "sketch_ntk",
    "sketched_distance",
]
