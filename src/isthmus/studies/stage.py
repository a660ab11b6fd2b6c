"""What a survey stage is, and what it is given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from isthmus._core.seeds import Seed
from isthmus.model.data import Task
from isthmus.studies.run import RunDirectory
from isthmus.training.trajectory import Trajectory

ScaleName = Literal["smoke", "desk"]


class Progress(Protocol):
    """Told what is being computed, and how much of it is done."""

    def __call__(self, stage: str, doing: str, done: int, total: int) -> None:
        """Take note."""
        ...


@dataclass(frozen=True)
class Scale:
    """How much a survey measures.

    Attributes:
        name: printed in every figure.
        probe_sets: disjoint sets of training inputs on which the kernel is measured; their spread is its error bar.
        probe_samples: examples in each.
        kernel_points: checkpoints at which the kernel is measured.
        curvature_points: checkpoints at which the sharpness is measured.
        curvature_samples: training examples in the loss whose Hessian is taken.
        eigenvalues: how many.
        density_probes: Lanczos start vectors for the spectral density.
        density_steps: Lanczos steps of each.
        twins: further runs from the same start with another batch order.
        controls: further runs from another start.
        spawn_times: checkpoints from which children are spawned.
        children: of each.
        after_points: checkpoints whose kernel is solved as a learner.
        after_samples: training examples behind it.
        linear_points: checkpoints at which the network is linearized and trained on (isthmus evolve only).
    """

    name: ScaleName
    probe_sets: int
    probe_samples: int
    kernel_points: int
    curvature_points: int
    curvature_samples: int
    eigenvalues: int
    density_probes: int
    density_steps: int
    twins: int
    controls: int
    spawn_times: int
    children: int
    after_points: int
    after_samples: int
    linear_points: int


SCALES: dict[str, Scale] = {
    "smoke": Scale("smoke", 2, 20, 6, 4, 500, 2, 2, 20, 2, 1, 4, 2, 3, 100, 1),
    "desk": Scale("desk", 4, 64, 24, 16, 4000, 5, 6, 80, 3, 2, 7, 3, 8, 1200, 3),
}


@dataclass(frozen=True)
class Context:
    """Everything a stage may use."""

    run: RunDirectory
    task: Task
    trajectory: Trajectory
    trained_here: bool
    seed: Seed
    scale: Scale
    progress: Progress


@dataclass(frozen=True)
class Stage:
    """One step of the survey.

    Attributes:
        id: short name, also the key of its cost.
        outputs: records that it writes; when all are there, the stage is done.
        applies: whether the stage can run at all in this context.
        run: computes and saves the outputs.
    """

    id: str
    outputs: tuple[str, ...]
    applies: Callable[[Context], bool]
    run: Callable[[Context], None]


def always(context: Context) -> bool:
    """A stage that every survey can run."""
    return True


def spread(items: list[int], count: int) -> list[int]:
    """At most `count` of the sorted items, evenly by position, first and last included."""
    if len(items) <= count:
        return list(items)
    picks = sorted({round(i * (len(items) - 1) / (count - 1)) for i in range(count)})
    return [items[i] for i in picks]
