"""What the scripts about curvature share: a timer, the error of ten eigenvalues, and the two jobs."""

import json
import sys
import time

import numpy as np
import torch

ACCURACIES = (1e-3, 1e-5)


def timed(work):
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def error(values, reference):
    """Largest relative error of the ten largest, each relative to itself."""
    return float(np.abs(np.sort(np.asarray(values))[::-1][:10] / reference - 1).max())


def answer(top10, slq):
    """Do the job that the command line names (``top10 REFERENCE.json`` or ``slq``) and print one JSON object.

    Args:
        top10: reference values -> rows of CPU seconds, error and a note.
        slq: nothing -> CPU seconds of one run.
    """
    torch.set_num_threads(1)
    if sys.argv[1] == "slq":
        print(json.dumps({"seconds": float(np.median([slq() for _ in range(3)]))}))
        return
    with open(sys.argv[2]) as file:
        print(json.dumps(top10(np.array(json.load(file)))))
