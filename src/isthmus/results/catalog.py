"""All kinds of record, and reading one without knowing its kind."""

import os

from isthmus._core.errors import InputError
from isthmus.results import (
    claims,
    critical,
    curvature,
    dynamics,
    embedding,
    evolution,
    flows,
    games,
    kernel,
    learning,
    optimizers,
    regimes,
    surfaces,
    symmetry,
    symmetry_alignment,
    training,
)
from isthmus.results.record import Record, read_schema

KINDS: dict[str, type[Record]] = {
    kind.schema: kind
    for kind in (
        claims.ClaimResult,
        critical.Certificate,
        critical.Spectrum,
        curvature.BlockEigenvalues,
        curvature.Eigenvalues,
        curvature.ErrorBarrier,
        curvature.LossLine,
        curvature.SharpnessTimeline,
        curvature.SpectralDensity,
        curvature.TwinBarriers,
        surfaces.AdaptiveLossPlane,
        surfaces.CurveProfile,
        surfaces.LossPlane,
        dynamics.Comparison,
        dynamics.MinibatchMoments,
        dynamics.Prediction,
        optimizers.OptimizerRuns,
        optimizers.Ranking,
        optimizers.Regime,
        dynamics.Spectrum,
        flows.CentralFlow,
        flows.EdgeOfStability,
        flows.GradientFlow,
        optimizers.Stability,
        optimizers.Tuning,
        embedding.Census,
        embedding.Escape,
        embedding.GrowthPrediction,
        embedding.PlateauTimeline,
        embedding.UnitCurvature,
        evolution.AfterKernel,
        evolution.EvolutionCurves,
        evolution.EvolutionSummary,
        evolution.LinearizedChildren,
        evolution.Spawning,
        games.BraessScan,
        games.Certificate,
        games.GameEquilibrium,
        games.GameTimeline,
        games.PathFlows,
        games.TrafficAssignment,
        kernel.KernelDistance,
        kernel.KernelDistanceEstimate,
        kernel.KernelTimeline,
        kernel.Ntk,
        kernel.NtkEigenvalues,
        kernel.NtkSketch,
        learning.LearningCurves,
        learning.OrderShares,
        learning.RemainderOrders,
        regimes.Condensation,
        regimes.EmbeddedSpectra,
        regimes.InitializationRegime,
        regimes.ModelRank,
        regimes.RegimeMeasurement,
        regimes.WideReduction,
        symmetry_alignment.AlignedBarriers,
        symmetry_alignment.NetworkAlignment,
        symmetry.CountRatios,
        symmetry.PathProfile,
        symmetry.StudentRuns,
        symmetry.SubspaceGraph,
        symmetry.UnitTaxonomy,
        training.TrainingHistory,
    )
}


def load_record(path: str | os.PathLike) -> Record:
    """Read a record of whatever kind the file says it is.

    Args:
        path: a `.safetensors` file that some record's ``save`` wrote.

    Returns:
        The record, an instance of the class in `KINDS` that its header names.

    Raises:
        InputError: the file is missing, damaged, foreign, or of a kind that this version does not know.
    """
    schema = read_schema(path)
    if schema not in KINDS:
        raise InputError(f"{path} holds a {schema!r} record, which this version does not know; it knows {', '.join(KINDS)}.")
    return KINDS[schema].load(path)
