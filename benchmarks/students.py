"""1,000 teacher-student runs at width 10 by batched Levenberg-Marquardt, 500 steps, on two processes.

    python benchmarks/students.py [runs] [workers]

Prints process CPU seconds (all workers) and the share of runs that reach zero loss.
"""

import resource
import sys

import torch

from isthmus._core.seeds import Seed
from isthmus.engine.tasks import map_tasks
from isthmus.papers.simsek2021.students import grid, random_students, teacher, train_students

BATCH = 100


def ends(index: int, count: int) -> list[float]:
    torch.set_num_threads(1)
    inputs = grid()
    return train_students(random_students(count, 10, Seed(0).child(index)), inputs, teacher(inputs), steps=500).cost.tolist()


def cpu_seconds() -> float:
    return sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main(runs: int = 1000, workers: int = 2) -> None:
    before = cpu_seconds()
    parts = [(index, min(BATCH, runs - start)) for index, start in enumerate(range(0, runs, BATCH))]
    losses = torch.tensor([loss for part in map_tasks(ends, parts, workers=workers) for loss in part])
    zero = float((losses < 1e-20).double().mean())
    print(
        f"{runs} runs, width 10, {len(grid())} inputs, 500 steps: {cpu_seconds() - before:.1f} s of CPU on {workers} processes; "
    )
    print(f"loss < 1e-20 in {100 * zero:.1f} %, median {float(losses.median()):.1e}, largest {float(losses.max()):.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
