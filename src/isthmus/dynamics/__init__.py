"""Optimizer dynamics: what the tangent kernel says of a training run before it happens, and when it stops being true."""

from isthmus.dynamics.methods import CanonicalNesterov, QuasiHyperbolic, ScheduledNesterov, TorchSgd, TwoMomentum
from isthmus.dynamics.predict import predict_training
from isthmus.dynamics.spectrum import spectrum

__all__ = [
    "CanonicalNesterov",
    "QuasiHyperbolic",
    "ScheduledNesterov",
    "TorchSgd",
    "TwoMomentum",
    "predict_training",
    "spectrum",
]
