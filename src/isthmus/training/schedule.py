"""When to keep a checkpoint."""

PAIR_EPOCHS = 0.4
_PER_DOUBLING = 2


def checkpoint_steps(total: int, steps_per_epoch: int) -> list[int]:
    """Step 0, log-spaced steps (two per doubling), every velocity pair's ends, and the last step.

    Args:
        total: optimizer steps of the whole run.
        steps_per_epoch: optimizer steps of an epoch.

    Returns:
        Sorted steps without repetition.
    """
    return sorted(set(log_steps(total)) | {step for pair in velocity_pairs(total, steps_per_epoch) for step in pair})


def velocity_pairs(total: int, steps_per_epoch: int) -> list[tuple[int, int]]:
    """``(t, t + dt)`` with dt = 0.4 epochs from log-spaced starts t, as far as they fit into the run."""
    dt = max(1, round(PAIR_EPOCHS * steps_per_epoch))
    return [(start, start + dt) for start in log_steps(total) if start + dt <= total]


def log_steps(total: int) -> list[int]:
    """0, 1, and then two per doubling up to and with `total`."""
    steps, exponent = {0, total}, 0
    while 2 ** (exponent / _PER_DOUBLING) < total:
        steps.add(round(2 ** (exponent / _PER_DOUBLING)))
        exponent += 1
    return sorted(steps)
