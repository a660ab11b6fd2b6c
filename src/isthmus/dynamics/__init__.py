"""Optimizer dynamics: what the tangent kernel says of a training run before it happens, and when it stops being true."""

from isthmus.dynamics.alarm import DepartureAlarm
from isthmus.dynamics.central import central_flow
from isthmus.dynamics.compare import compare
from isthmus.dynamics.flow import gradient_flow
from isthmus.dynamics.methods import CanonicalNesterov, QuasiHyperbolic, ScheduledNesterov, TorchSgd, TwoMomentum
from isthmus.dynamics.noise import minibatch_moments
from isthmus.dynamics.predict import predict_training
from isthmus.dynamics.regime import regime_check
from isthmus.dynamics.sharpness import SharpnessMonitor, edge_of_stability
from isthmus.dynamics.spectrum import spectrum
from isthmus.dynamics.stability import stability_limit
from isthmus.dynamics.tuning import rank_optimizers, tune

__all__ = [
    "CanonicalNesterov",
    "DepartureAlarm",
    "QuasiHyperbolic",
    "ScheduledNesterov",
    "SharpnessMonitor",
    "TorchSgd",
    "TwoMomentum",
    "central_flow",
    "compare",
    "edge_of_stability",
    "gradient_flow",
    "minibatch_moments",
    "predict_training",
    "rank_optimizers",
    "regime_check",
    "spectrum",
    "stability_limit",
    "tune",
]
