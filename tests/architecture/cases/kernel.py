"""Kernel learners and infinite-width kernels work on matrices and arrays."""

CASES = {}
WITHOUT = {"InfiniteWidth", "KernelGradientDescent", "KernelRidge", "KernelRidgeClassifier", "KernelSpectrum", "kernel_ridge"}
