"""The tangent kernel along the run, on several disjoint probe sets."""

from isthmus.studies.kernel_timeline import kernel_timeline
from isthmus.studies.stage import Context, Stage, always


def _run(context: Context) -> None:
    scale = context.scale
    record = kernel_timeline(
        context.trajectory,
        probe_sets=scale.probe_sets,
        probe_samples=scale.probe_samples,
        points=scale.kernel_points,
        seed=context.seed.child("kernel"),
        tell=lambda done, total: context.progress("kernel", "tangent kernel along the run", done, total),
    )
    context.run.save("kernel/timeline", record)


KERNEL = Stage("kernel", ("kernel/timeline",), always, _run)
