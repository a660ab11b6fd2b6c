"""1,000 teacher-student runs at width 10 by batched Levenberg-Marquardt, 500 steps, on two processes.

    python benchmarks/students.py [runs] [workers]

Prints process CPU seconds (all workers) and the share of runs that reach zero loss.
"""

import sys
import time

import torch

from isthmus._core.seeds import Seed
from isthmus.engine.tasks import map_tasks
from isthmus.papers.simsek2021.students import grid, random_students, teacher, train_students

BATCH = 100


def ends(index: int, count: int) -> tuple[list[float], float]:
    """Final losses of some runs, and the CPU seconds they took."""
    torch.set_num_threads(1)
    started, inputs = time.process_time(), grid()
    found = train_students(random_students(count, 10, Seed(0).child(index)), inputs, teacher(inputs), steps=500)
    return found.cost.tolist(), time.process_time() - started


def main(runs: int = 1000, workers: int = 2) -> None:
    started = time.perf_counter()
    parts = [(index, min(BATCH, runs - start)) for index, start in enumerate(range(0, runs, BATCH))]
    found = map_tasks(ends, parts, workers=workers)
    losses, spent = torch.tensor([loss for part, _ in found for loss in part]), sum(seconds for _, seconds in found)
    wall = time.perf_counter() - started
    print(f"{runs} runs, width 10, {len(grid())} inputs, 500 steps: {spent:.1f} s of CPU, {wall:.1f} s on {workers} processes")
    zero = float((losses < 1e-20).double().mean())
    print(f"loss < 1e-20 in {100 * zero:.1f} %, median {float(losses.median()):.1e}, largest {float(losses.max()):.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
