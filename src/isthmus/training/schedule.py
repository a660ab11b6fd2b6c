"""When to keep a checkpoint."""

PAIR_EPOCHS = 0.4
#: lengths over which a velocity is also measured, to see whether it depends on them
SCAN_EPOCHS = (0.2, 0.4, 0.8)
_PER_DOUBLING = 2
_SCANS = 5


def checkpoint_steps(total: int, steps_per_epoch: int) -> list[int]:
    """Step 0, log-spaced steps (two per doubling), every velocity pair's and scan's ends, and the last step.

    Args:
        total: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.

    Returns:
        Sorted steps without repetition.
    """
    ends = {step for pair in velocity_pairs(total, steps_per_epoch) for step in pair}
    scans = {step for one in velocity_scans(total, steps_per_epoch) for step in one}
    return sorted(set(log_steps(total)) | ends | scans)


def velocity_pairs(total: int, steps_per_epoch: int) -> list[tuple[int, int]]:
    """``(t, t + dt)`` with dt = 0.4 epochs from log-spaced starts t, as far as they fit into the run."""
    dt = max(1, round(PAIR_EPOCHS * steps_per_epoch))
    return [(start, start + dt) for start in log_steps(total) if start + dt <= total]


def velocity_scans(total: int, steps_per_epoch: int) -> list[tuple[int, ...]]:
    """``(t, t + dt, ...)`` for each dt of `SCAN_EPOCHS`, from at most five of the pairs' starts, first and last included."""
    lengths = [max(1, round(epochs * steps_per_epoch)) for epochs in SCAN_EPOCHS]
    starts = [start for start in log_steps(total) if start + max(lengths) <= total]
    picks = sorted({round(i * (len(starts) - 1) / (_SCANS - 1)) for i in range(_SCANS)}) if starts else []
    return [(starts[i], *(starts[i] + length for length in lengths)) for i in picks]


def log_steps(total: int) -> list[int]:
    """0, 1, and then two per doubling up to and with `total`."""
    steps, exponent = {0, total}, 0
    while 2 ** (exponent / _PER_DOUBLING) < total:
        steps.add(round(2 ** (exponent / _PER_DOUBLING)))
        exponent += 1
    return sorted(steps)
