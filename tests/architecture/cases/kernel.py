"""Matrix-free kernels, estimates and reductions. Learners and infinite-width kernels work on matrices and arrays."""

from isthmus import (
    NtkVectorProducts,
    OutputIndex,
    RandomOutputs,
    conjugate_kernel,
    empirical_ntk,
    estimate_kernel_distance,
    ntk_eigenvalues,
    ntk_operator,
    sketch_ntk,
    sketched_distance,
)
from tests.architecture.user import data

_INPUTS = data()[0][:3]


def _distance(module, _):
    operator = ntk_operator(module, _INPUTS)
    return estimate_kernel_distance(operator, operator, probes=2)


def _sketched(module, _):
    sketch = sketch_ntk(module, _INPUTS, size=2, repeats=2)
    return sketched_distance(sketch, sketch)


CASES = {
    "NtkVectorProducts": lambda module, _: empirical_ntk(module, _INPUTS, method=NtkVectorProducts()),
    "OutputIndex": lambda module, _: empirical_ntk(module, _INPUTS, outputs=OutputIndex(1)),
    "RandomOutputs": lambda module, _: empirical_ntk(module, _INPUTS, outputs=RandomOutputs(2)),
    "conjugate_kernel": lambda module, _: conjugate_kernel(module, _INPUTS),
    "estimate_kernel_distance": _distance,
    "ntk_eigenvalues": lambda module, _: ntk_eigenvalues(module, _INPUTS, 1),
    "ntk_operator": lambda module, _: ntk_operator(module, _INPUTS, outputs="sum"),
    "sketch_ntk": lambda module, _: sketch_ntk(module, _INPUTS, size=2, repeats=2),
    "sketched_distance": _sketched,
}
WITHOUT = {"InfiniteWidth", "KernelGradientDescent", "KernelRidge", "KernelRidgeClassifier", "KernelSpectrum", "kernel_ridge"}
