"""isthmus maps the loss landscape of your own neural network.

Names are resolved on first use, so that importing isthmus loads no torch.
"""

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus._core.seeds import Seed
    from isthmus.combinatorics.subspaces import critical_subspaces, minima_subspaces
    from isthmus.curvature.barrier import error_barrier
    from isthmus.curvature.blocks import block_eigenvalues, curvature_blocks
    from isthmus.curvature.certify import certify
    from isthmus.curvature.curves import low_loss_curve
    from isthmus.curvature.density import spectral_density
    from isthmus.curvature.directions import directions_through, hessian_directions, random_directions, trajectory_directions
    from isthmus.curvature.eigenvalues import hessian_eigenvalues
    from isthmus.curvature.lines import loss_along_line
    from isthmus.curvature.operators import ggn_operator, hessian_operator
    from isthmus.curvature.planes import adaptive_loss_plane, loss_plane
    from isthmus.curvature.polish import polish
    from isthmus.curvature.spectrum import hessian_spectrum
    from isthmus.dynamics.central import central_flow
    from isthmus.dynamics.flow import gradient_flow
    from isthmus.dynamics.predict import predict_training
    from isthmus.dynamics.regime import regime_check
    from isthmus.dynamics.sharpness import edge_of_stability
    from isthmus.dynamics.spectrum import spectrum
    from isthmus.dynamics.stability import stability_limit
    from isthmus.dynamics.tuning import rank_optimizers, tune
    from isthmus.embedding.census import census
    from isthmus.embedding.compatible import Compatible
    from isthmus.embedding.depth import lift_depth, prune_layer
    from isthmus.embedding.directions import condensation
    from isthmus.embedding.escape import escape
    from isthmus.embedding.grow import grow
    from isthmus.embedding.growth import Growth
    from isthmus.embedding.plant import plant
    from isthmus.embedding.plateau import identify_plateau
    from isthmus.embedding.prediction import predict_inertia
    from isthmus.embedding.rank import model_rank
    from isthmus.embedding.regime import initialization_regime, measured_regime
    from isthmus.embedding.shrink import shrink
    from isthmus.embedding.unit_curvature import unit_curvature
    from isthmus.games.congestion import CongestionGame
    from isthmus.games.equilibrium import social_optimum, wardrop_equilibrium
    from isthmus.games.export import to_networkx
    from isthmus.games.pathgame import PathGame
    from isthmus.games.traffic.assignment import system_optimum, user_equilibrium
    from isthmus.games.traffic.network import RoadNetwork
    from isthmus.games.traffic.tntp import read_tntp
    from isthmus.kernel.alignment import effective_rank, label_alignment
    from isthmus.kernel.conjugate import conjugate_kernel
    from isthmus.kernel.distance import kernel_distance
    from isthmus.kernel.estimates import estimate_kernel_distance, sketch_ntk, sketched_distance
    from isthmus.kernel.estimators import KernelGradientDescent, KernelRidge, KernelRidgeClassifier
    from isthmus.kernel.infinite_width import InfiniteWidth
    from isthmus.kernel.methods import Auto, JacobianContraction, NtkVectorProducts, Structured
    from isthmus.kernel.ntk import empirical_ntk
    from isthmus.kernel.operator import ntk_operator
    from isthmus.kernel.outputs import OutputIndex, RandomOutputs
    from isthmus.kernel.ridge import KernelSpectrum, kernel_ridge
    from isthmus.kernel.spectrum import ntk_eigenvalues
    from isthmus.learning.decomposition import order_shares
    from isthmus.learning.remainder import remainder_orders
    from isthmus.linops.eigen import top_eigenpairs
    from isthmus.linops.operator import Deflated
    from isthmus.linops.slq import stochastic_lanczos_quadrature
    from isthmus.linops.traces import frobenius_norm, hutch_plus_plus, hutchinson_trace
    from isthmus.model.data import Task, builtin_task
    from isthmus.model.network import Network
    from isthmus.model.problem import Problem
    from isthmus.model.taylor import taylor_model
    from isthmus.model.units import exchangeable_units
    from isthmus.report.atlas import render
    from isthmus.results.catalog import load_record
    from isthmus.studies.after_kernel import after_kernel
    from isthmus.studies.kernel_evolution import kernel_evolution
    from isthmus.studies.learning_curves import learning_curves
    from isthmus.studies.linearized import linearized_children
    from isthmus.studies.spawning import spawn
    from isthmus.studies.survey import survey
    from isthmus.studies.transition import find_transition
    from isthmus.symmetry.alignment import align, random_equivalent
    from isthmus.symmetry.expansion import expansion_manifold
    from isthmus.symmetry.matching_methods import ActivationMatching, Sinkhorn, WeightMatching
    from isthmus.symmetry.membership import locate
    from isthmus.symmetry.paths import zero_loss_path
    from isthmus.symmetry.profile import path_profile
    from isthmus.symmetry.reduction import reduce
    from isthmus.symmetry.taxonomy import unit_taxonomy
    from isthmus.training.loop import train
    from isthmus.training.recorder import Recorder
    from isthmus.training.trajectory import Trajectory, open_trajectory, replay

_NAMES = {
    "ActivationMatching": "isthmus.symmetry.matching_methods",
    "Auto": "isthmus.kernel.methods",
    "Compatible": "isthmus.embedding.compatible",
    "CongestionGame": "isthmus.games.congestion",
    "Deflated": "isthmus.linops.operator",
    "Growth": "isthmus.embedding.growth",
    "InfiniteWidth": "isthmus.kernel.infinite_width",
    "JacobianContraction": "isthmus.kernel.methods",
    "KernelGradientDescent": "isthmus.kernel.estimators",
    "KernelRidge": "isthmus.kernel.estimators",
    "KernelRidgeClassifier": "isthmus.kernel.estimators",
    "KernelSpectrum": "isthmus.kernel.ridge",
    "Network": "isthmus.model.network",
    "NtkVectorProducts": "isthmus.kernel.methods",
    "OutputIndex": "isthmus.kernel.outputs",
    "PathGame": "isthmus.games.pathgame",
    "Problem": "isthmus.model.problem",
    "RandomOutputs": "isthmus.kernel.outputs",
    "Recorder": "isthmus.training.recorder",
    "RoadNetwork": "isthmus.games.traffic.network",
    "Seed": "isthmus._core.seeds",
    "Sinkhorn": "isthmus.symmetry.matching_methods",
    "Structured": "isthmus.kernel.methods",
    "Task": "isthmus.model.data",
    "Trajectory": "isthmus.training.trajectory",
    "WeightMatching": "isthmus.symmetry.matching_methods",
    "adaptive_loss_plane": "isthmus.curvature.planes",
    "after_kernel": "isthmus.studies.after_kernel",
    "align": "isthmus.symmetry.alignment",
    "block_eigenvalues": "isthmus.curvature.blocks",
    "builtin_task": "isthmus.model.data",
    "census": "isthmus.embedding.census",
    "central_flow": "isthmus.dynamics.central",
    "certify": "isthmus.curvature.certify",
    "condensation": "isthmus.embedding.directions",
    "conjugate_kernel": "isthmus.kernel.conjugate",
    "critical_subspaces": "isthmus.combinatorics.subspaces",
    "curvature_blocks": "isthmus.curvature.blocks",
    "directions_through": "isthmus.curvature.directions",
    "edge_of_stability": "isthmus.dynamics.sharpness",
    "effective_rank": "isthmus.kernel.alignment",
    "empirical_ntk": "isthmus.kernel.ntk",
    "error_barrier": "isthmus.curvature.barrier",
    "escape": "isthmus.embedding.escape",
    "estimate_kernel_distance": "isthmus.kernel.estimates",
    "exchangeable_units": "isthmus.model.units",
    "expansion_manifold": "isthmus.symmetry.expansion",
    "find_transition": "isthmus.studies.transition",
    "frobenius_norm": "isthmus.linops.traces",
    "ggn_operator": "isthmus.curvature.operators",
    "gradient_flow": "isthmus.dynamics.flow",
    "grow": "isthmus.embedding.grow",
    "hessian_directions": "isthmus.curvature.directions",
    "hessian_eigenvalues": "isthmus.curvature.eigenvalues",
    "hessian_operator": "isthmus.curvature.operators",
    "hessian_spectrum": "isthmus.curvature.spectrum",
    "hutch_plus_plus": "isthmus.linops.traces",
    "hutchinson_trace": "isthmus.linops.traces",
    "identify_plateau": "isthmus.embedding.plateau",
    "initialization_regime": "isthmus.embedding.regime",
    "kernel_distance": "isthmus.kernel.distance",
    "kernel_evolution": "isthmus.studies.kernel_evolution",
    "kernel_ridge": "isthmus.kernel.ridge",
    "label_alignment": "isthmus.kernel.alignment",
    "learning_curves": "isthmus.studies.learning_curves",
    "lift_depth": "isthmus.embedding.depth",
    "linearized_children": "isthmus.studies.linearized",
    "load_record": "isthmus.results.catalog",
    "locate": "isthmus.symmetry.membership",
    "loss_along_line": "isthmus.curvature.lines",
    "loss_plane": "isthmus.curvature.planes",
    "low_loss_curve": "isthmus.curvature.curves",
    "measured_regime": "isthmus.embedding.regime",
    "minima_subspaces": "isthmus.combinatorics.subspaces",
    "model_rank": "isthmus.embedding.rank",
    "ntk_eigenvalues": "isthmus.kernel.spectrum",
    "ntk_operator": "isthmus.kernel.operator",
    "open_trajectory": "isthmus.training.trajectory",
    "order_shares": "isthmus.learning.decomposition",
    "path_profile": "isthmus.symmetry.profile",
    "plant": "isthmus.embedding.plant",
    "polish": "isthmus.curvature.polish",
    "predict_inertia": "isthmus.embedding.prediction",
    "predict_training": "isthmus.dynamics.predict",
    "prune_layer": "isthmus.embedding.depth",
    "random_directions": "isthmus.curvature.directions",
    "random_equivalent": "isthmus.symmetry.alignment",
    "rank_optimizers": "isthmus.dynamics.tuning",
    "read_tntp": "isthmus.games.traffic.tntp",
    "reduce": "isthmus.symmetry.reduction",
    "regime_check": "isthmus.dynamics.regime",
    "remainder_orders": "isthmus.learning.remainder",
    "render": "isthmus.report.atlas",
    "replay": "isthmus.training.trajectory",
    "shrink": "isthmus.embedding.shrink",
    "sketch_ntk": "isthmus.kernel.estimates",
    "sketched_distance": "isthmus.kernel.estimates",
    "social_optimum": "isthmus.games.equilibrium",
    "spawn": "isthmus.studies.spawning",
    "spectral_density": "isthmus.curvature.density",
    "spectrum": "isthmus.dynamics.spectrum",
    "stability_limit": "isthmus.dynamics.stability",
    "stochastic_lanczos_quadrature": "isthmus.linops.slq",
    "survey": "isthmus.studies.survey",
    "system_optimum": "isthmus.games.traffic.assignment",
    "taylor_model": "isthmus.model.taylor",
    "to_networkx": "isthmus.games.export",
    "top_eigenpairs": "isthmus.linops.eigen",
    "train": "isthmus.training.loop",
    "trajectory_directions": "isthmus.curvature.directions",
    "tune": "isthmus.dynamics.tuning",
    "unit_curvature": "isthmus.embedding.unit_curvature",
    "unit_taxonomy": "isthmus.symmetry.taxonomy",
    "user_equilibrium": "isthmus.games.traffic.assignment",
    "wardrop_equilibrium": "isthmus.games.equilibrium",
    "zero_loss_path": "isthmus.symmetry.paths",
}

__all__ = [
    "ActivationMatching",
    "Auto",
    "Compatible",
    "CongestionGame",
    "Deflated",
    "Growth",
    "InfiniteWidth",
    "JacobianContraction",
    "KernelGradientDescent",
    "KernelRidge",
    "KernelRidgeClassifier",
    "KernelSpectrum",
    "Network",
    "NtkVectorProducts",
    "OutputIndex",
    "PathGame",
    "Problem",
    "RandomOutputs",
    "Recorder",
    "RoadNetwork",
    "Seed",
    "Sinkhorn",
    "Structured",
    "Task",
    "Trajectory",
    "WeightMatching",
    "adaptive_loss_plane",
    "after_kernel",
    "align",
    "block_eigenvalues",
    "builtin_task",
    "census",
    "central_flow",
    "certify",
    "condensation",
    "conjugate_kernel",
    "critical_subspaces",
    "curvature_blocks",
    "directions_through",
    "edge_of_stability",
    "effective_rank",
    "empirical_ntk",
    "error_barrier",
    "escape",
    "estimate_kernel_distance",
    "exchangeable_units",
    "expansion_manifold",
    "find_transition",
    "frobenius_norm",
    "ggn_operator",
    "gradient_flow",
    "grow",
    "hessian_directions",
    "hessian_eigenvalues",
    "hessian_operator",
    "hessian_spectrum",
    "hutch_plus_plus",
    "hutchinson_trace",
    "identify_plateau",
    "initialization_regime",
    "kernel_distance",
    "kernel_evolution",
    "kernel_ridge",
    "label_alignment",
    "learning_curves",
    "lift_depth",
    "linearized_children",
    "load_record",
    "locate",
    "loss_along_line",
    "loss_plane",
    "low_loss_curve",
    "measured_regime",
    "minima_subspaces",
    "model_rank",
    "ntk_eigenvalues",
    "ntk_operator",
    "open_trajectory",
    "order_shares",
    "path_profile",
    "plant",
    "polish",
    "predict_inertia",
    "predict_training",
    "prune_layer",
    "random_directions",
    "random_equivalent",
    "rank_optimizers",
    "read_tntp",
    "reduce",
    "regime_check",
    "remainder_orders",
    "render",
    "replay",
    "shrink",
    "sketch_ntk",
    "sketched_distance",
    "social_optimum",
    "spawn",
    "spectral_density",
    "spectrum",
    "stability_limit",
    "stochastic_lanczos_quadrature",
    "survey",
    "system_optimum",
    "taylor_model",
    "to_networkx",
    "top_eigenpairs",
    "train",
    "trajectory_directions",
    "tune",
    "unit_curvature",
    "unit_taxonomy",
    "user_equilibrium",
    "wardrop_equilibrium",
    "zero_loss_path",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("isthmus")
    if name not in _NAMES:
        raise AttributeError(f"module 'isthmus' has no attribute {name!r}")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
