"""Properties of the checkpoint schedule, for all run lengths."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from isthmus.training.schedule import PAIR_EPOCHS, SCAN_EPOCHS, checkpoint_steps, log_steps, velocity_pairs, velocity_scans

totals, per_epochs = st.integers(0, 10**6), st.integers(1, 10**4)


@given(totals)
def test_log_steps_start_at_zero_end_at_the_total_and_grow_by_at_most_half_an_octave(total: int) -> None:
    steps = log_steps(total)
    assert (steps[0], steps[-1]) == (0, total)
    assert steps == sorted(set(steps))
    assert len(steps) <= 2 * math.log2(max(total, 1)) + 4
    assert all(b <= math.sqrt(2) * a + 1.5 for a, b in itertools.pairwise(steps[1:]))


@given(totals, per_epochs)
def test_pairs_fit_into_the_run_and_are_four_tenths_of_an_epoch_long(total: int, per_epoch: int) -> None:
    dt = max(1, round(PAIR_EPOCHS * per_epoch))
    pairs = velocity_pairs(total, per_epoch)
    assert all(b - a == dt and a >= 0 and b <= total for a, b in pairs)
    assert bool(pairs) == (dt <= total)


@given(totals, per_epochs)
def test_the_schedule_holds_every_log_step_and_all_ends_of_every_pair_and_scan(total: int, per_epoch: int) -> None:
    steps, scans = checkpoint_steps(total, per_epoch), velocity_scans(total, per_epoch)
    assert steps == sorted(set(steps))
    ends = {step for one in [*velocity_pairs(total, per_epoch), *scans] for step in one}
    assert set(steps) == {*log_steps(total), *ends}
    assert len(scans) <= 5
    assert all(b - a == max(1, round(dt * per_epoch)) for a, *later in scans for b, dt in zip(later, SCAN_EPOCHS, strict=True))
    assert all(0 <= step <= total for step in steps)
