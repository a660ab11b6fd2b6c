"""Optimizer dynamics: what the tangent kernel says of a training run before it happens, and when it stops being true."""

from isthmus.dynamics.alarm import DepartureAlarm
from isthmus.dynamics.compare import compare
from isthmus.dynamics.methods import CanonicalNesterov, QuasiHyperbolic, ScheduledNesterov, TorchSgd, TwoMomentum
from isthmus.dynamics.noise import minibatch_moments
from isthmus.dynamics.predict import predict_training
from isthmus.dynamics.regime import regime_check
from isthmus.dynamics.spectrum import spectrum
from isthmus.dynamics.stability import stability_limit
from isthmus.dynamics.tuning import rank_optimizers, tune

__all__ = [
    "CanonicalNesterov",
    "DepartureAlarm",
    "QuasiHyperbolic",
    "ScheduledNesterov",
    "TorchSgd",
    "TwoMomentum",
    "compare",
    "minibatch_moments",
    "predict_training",
    "rank_optimizers",
    "regime_check",
    "spectrum",
    "stability_limit",
    "tune",
]
