"""Threads: a compiled loop is shared out to several, small matrices are left to one."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from adatom.core.workers import count_cores


def share_out(work: Callable[[int, int], object], n: int, *, fewest: int = 100) -> None:
    """Call a function on consecutive parts of a range, at the same time.

    Parameters
    ----------
    work : callable
        Takes the first number of a part and the one after its last; spends its time without
        Python's lock, and writes where no other part does. What it shares out itself stays in its
        thread.
    n : int
        Length of the range.
    fewest : int
        Least length of a part.
    """
    n_parts = 1 if _inside.part else max(1, min(count_cores(), n // fewest))
    edges = np.linspace(0, n, n_parts + 1).astype(int).tolist()

    def run(first: int, end: int) -> None:
        outer, _inside.part = _inside.part, True
        try:
            work(first, end)
        finally:
            _inside.part = outer

    own, *others = itertools.pairwise(edges)
    running = [_submit(run, *part) for part in others]
    try:
        run(*own)
    finally:
        wait(running)
    for part in running:
        part.result()


class _Inside(threading.local):
    """Whether this thread is at work on a part."""

    part = False


_inside = _Inside()


def _submit(run: Callable[[int, int], None], first: int, end: int) -> Future[None]:
    try:
        return _pool().submit(run, first, end)
    except RuntimeError:  # Python is ending: no thread starts any more
        done: Future[None] = Future()
        run(first, end)
        done.set_result(None)
        return done


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count_cores(), "adatom")


if hasattr(os, "register_at_fork"):  # a forked process has the pool but not its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


class _BlasLimit:
    """Of the whole process: the first to enter sets it, the last to leave ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._controller: ThreadpoolController | None = None

    def enter(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._controller = self._controller or ThreadpoolController()
                self._limiter = self._controller.limit(limits=1, user_api="blas")
            self._n_inside += 1

    def leave(self) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                self._limiter.restore_original_limits()


_blas_limit = _BlasLimit()


@contextmanager
def limit_blas() -> Iterator[None]:
    """One thread for BLAS: many small products that wait for each other cost more than they save.

    Its threads also spin on for a while, in the way of those of the network.
    """
    _blas_limit.enter()
    try:
        yield
    finally:
        _blas_limit.leave()
