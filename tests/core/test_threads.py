"""Work that is shared out to threads."""

import threading
import time

import pytest
from threadpoolctl import threadpool_info

from adatom.core import threads
from adatom.core.threads import limit_blas, share_out


@pytest.fixture(autouse=True)
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "count_cores", lambda: 2)


@pytest.mark.parametrize("n", [0, 1, 99, 200, 1001])
def test_every_number_is_worked_on_once(n):
    parts = []
    share_out(lambda first, end: parts.append((first, end)), n)
    parts.sort()
    assert [number for part in parts for number in range(*part)] == list(range(n))
    assert len(parts) == (2 if n >= 200 else 1)


def test_work_inside_work_stays_in_its_thread():
    names = []

    def outer(*_part: int) -> None:
        here = threading.current_thread().name
        share_out(lambda *_: names.append(threading.current_thread().name == here), 1000)

    share_out(outer, 8, fewest=1)
    assert names == [True, True]


@pytest.mark.parametrize("bad", [0, 4])
def test_error_of_any_part_is_raised_when_all_have_ended(bad):
    ended = []

    def work(first: int, _end: int) -> None:
        if first == bad:
            raise ValueError("bad part")
        time.sleep(0.05)
        ended.append(first)

    with pytest.raises(ValueError, match="bad part"):
        share_out(work, 8, fewest=1)
    assert ended == [4 - bad]


def test_blas_has_one_thread_until_the_last_leaves():
    def count() -> list[int]:
        return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]

    before = count()
    first, second = limit_blas(), limit_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(count()) == {1}
    second.__exit__(None, None, None)
    assert count() == before
