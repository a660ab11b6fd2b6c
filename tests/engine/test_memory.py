"""Chunks, memory requests and task mapping."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus._core.errors import BudgetError
from isthmus.engine import memory
from isthmus.engine.tasks import map_tasks


@given(st.integers(0, 300), st.integers(1, 50))
def test_chunks_cover_everything_once_in_order(total: int, size: int) -> None:
    parts = list(memory.chunks(total, size))
    assert [i for part in parts for i in range(total)[part]] == list(range(total))
    assert all(part.stop - part.start <= size for part in parts)


def test_available_memory_is_positive_and_at_most_what_is_installed() -> None:
    with open("/proc/meminfo", encoding="ascii") as lines:
        total = int(next(line for line in lines if line.startswith("MemTotal:")).split()[1]) * 1024
    assert 0 < memory.available_bytes() <= total


def test_a_container_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_cgroup_bytes", lambda: 12345)
    assert memory.available_bytes() == 12345


def test_too_much_memory_is_refused_with_both_sizes_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**31)
    memory.require_memory(2**31, what="A kernel", instead="outputs='trace'")
    with pytest.raises(BudgetError, match=r"A kernel would need 4\.0 GiB, and 2\.0 GiB are available.*outputs='trace'"):
        memory.require_memory(2**32, what="A kernel", instead="outputs='trace'")


@pytest.mark.parametrize("workers", [1, 2])
def test_tasks_come_back_in_order_whatever_the_workers(workers: int) -> None:
    assert map_tasks(divmod, [(i, 7) for i in range(20)], workers=workers) == [divmod(i, 7) for i in range(20)]


def test_a_task_that_fails_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        map_tasks(divmod, [(1, 0)])
