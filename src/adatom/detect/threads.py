"""Threads: a compiled loop is shared out to several, small matrices are left to one."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache

import numba
import numpy as np
from threadpoolctl import ThreadpoolController


def share_out(work: Callable[[int, int], object], n: int, *, fewest: int = 100) -> None:
    """Call a function on consecutive parts of a range, at the same time.

    Parameters
    ----------
    work : callable
        Takes the first number of a part and the one after its last; lets go of Python's lock, and
        writes where no other part does. What it shares out itself stays in its thread.
    n : int
        Length of the range.
    fewest : int
        Least length of a part.
    """
    n_parts = 1 if _inside.part else max(1, min(numba.get_num_threads(), n // fewest))
    edges = np.linspace(0, n, n_parts + 1).astype(int).tolist()

    def run(first: int, end: int) -> None:
        outer, _inside.part = _inside.part, True
        try:
            work(first, end)
        finally:
            _inside.part = outer

    parts = list(itertools.pairwise(edges))
    others = [_pool().submit(run, *part) for part in parts[1:]]
    run(*parts[0])
    for other in others:
        other.result()


class _Inside(threading.local):
    """Whether this thread is at work on a part."""

    part = False


_inside = _Inside()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "adatom")


if hasattr(os, "register_at_fork"):  # a forked process has the pool but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def limit_blas() -> AbstractContextManager[object]:
    """One thread for BLAS: many small products that wait for each other cost more than they save.

    Its threads also spin on for a while, in the way of those of the network.
    """
    return _controller().limit(limits=1, user_api="blas")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
