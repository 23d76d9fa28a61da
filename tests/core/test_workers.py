"""Jobs on several processes."""

import os
import time

import numpy as np
import pytest

from adatom.core.errors import AdatomError, ConfigError
from adatom.core.workers import run_jobs


def invert(seed, n):
    values = np.random.default_rng(seed).standard_normal((n, n))
    return os.getpid(), np.linalg.inv(values).sum()


def refuse(number):
    if number == 2:
        raise ConfigError(f"number: must not be 2 (got {number})")


def die(number):
    if number == 2:
        os._exit(9)
    time.sleep(1)


@pytest.mark.parametrize("n_workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(n_workers):
    seen = []
    found = run_jobs(
        invert,
        [(seed, 90) for seed in range(6)],
        n_workers=n_workers,
        text="inverses",
        report=lambda *call: seen.append(call),
    )
    assert [value for _, value in found] == [invert(seed, 90)[1] for seed in range(6)]
    processes = {process for process, _ in found}
    assert len(processes) <= n_workers
    assert (os.getpid() in processes) == (n_workers == 1)
    assert seen == [(done, 6, "inverses") for done in range(7)]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_error_comes_back_as_it_was(n_workers):
    with pytest.raises(ConfigError) as raised:
        run_jobs(refuse, [(1,), (2,), (3,)], n_workers=n_workers)
    assert str(raised.value) == "number: must not be 2 (got 2)"


def test_a_process_that_is_killed_is_one_line():
    with pytest.raises(AdatomError, match="numbers: a process was ended from outside"):
        run_jobs(die, [(1,), (2,)], n_workers=2, text="numbers")


def test_no_jobs():
    assert run_jobs(invert, []) == []
