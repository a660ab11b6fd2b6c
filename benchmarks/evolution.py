"""Kernel evolution of the MNIST-1D perceptron: the whole study, and the trace kernel of 4000 points.

    python benchmarks/evolution.py [workers]

30 epochs, 8 spawn times of 2 children each, with all measures; prints process CPU seconds (all workers), wall seconds and the peak
memory of the process.
"""

import resource
import sys
import time

import torch

import isthmus
from isthmus.studies.kernel_evolution import kernel_evolution

LIMIT_S, LIMIT_GIB = 240, 3


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_gib() -> float:
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 2**20


def main(workers: int = 1) -> None:
    torch.set_num_threads(1)
    task = isthmus.builtin_task("mnist1d")
    parts: dict[str, float] = {}

    def tell(what: str, done: int, total: int) -> None:
        parts.setdefault(what, cpu_seconds())

    cpu, wall = cpu_seconds(), time.perf_counter()
    study = kernel_evolution(
        task.problem, task.optimizer, epochs=30, batch=50, spawn_times=8, children=2, workers=workers, tell=tell
    )
    used, took = cpu_seconds() - cpu, time.perf_counter() - wall
    print(f"study, {workers} process(es): {used:.0f} s of CPU, {took:.0f} s wall, limit {LIMIT_S} s on two cores")
    print("  begun after", ", ".join(f"{at - cpu:.0f} s: {what}" for what, at in parts.items()))
    print(f"  barrier {study.summary.verdicts[0]}, S from start to end {study.kernel.final_distance[0]:.2g}")
    print(f"  peak memory {peak_gib():.2f} GiB, limit {LIMIT_GIB} GiB")
    problem = task.problem.to(torch.float64)
    cpu = cpu_seconds()
    isthmus.empirical_ntk(problem.network, problem.inputs, outputs="trace", verify=False)
    print(f"trace kernel, {problem.samples} points: {cpu_seconds() - cpu:.2f} s of CPU, limit 4 s")
    print(f"  peak memory {peak_gib():.2f} GiB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
