"""Work in parts on several processes: the only door to dask's scheduler."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

from adatom.core.errors import AdatomError
from adatom.core.progress import Report, ignore_progress


@cache
def count_cores() -> int:
    """Cores that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    work: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    n_workers: int = 1,
    text: str = "",
    report: Report = ignore_progress,
) -> list[Any]:
    """Call a function with each of many arguments, on several processes at once.

    Parameters
    ----------
    work : callable
        A function of a module: other processes import it. It runs on one thread.
    jobs : sequence of tuple
        Arguments of each call.
    n_workers : int
        Processes; one works in this process.
    text : str
        What is being done.
    report : callable
        Called with (jobs done, jobs in all, text).

    Returns
    -------
    list
        What each call gave, in the order of the jobs.

    Raises
    ------
    Exception
        What a call raised; no further job is begun.
    AdatomError
        If a process was ended from outside.
    """
    from dask.base import compute
    from dask.callbacks import Callback
    from dask.delayed import delayed

    n_done = 0

    class Progress(Callback):
        def _posttask(self, *_: object) -> None:
            nonlocal n_done
            n_done += 1
            report(n_done, len(jobs), text)

    n_workers = min(n_workers, len(jobs)) or 1
    report(0, len(jobs), text)
    alone = delayed(_work_alone, pure=False)
    tasks = [alone(work, job, os.getpid()) for job in jobs]
    try:
        with Progress():
            found = compute(
                tasks,
                scheduler="sync" if n_workers == 1 else "processes",
                num_workers=n_workers,
                chunksize=1,
                optimize_graph=False,
            )
    except BrokenProcessPool as error:
        raise AdatomError(
            f"{text}: a process was ended from outside (for want of memory?); the same call goes on"
        ) from error
    return list(found[0])


def _work_alone(work: Callable[..., Any], arguments: tuple[Any, ...], parent: int) -> Any:
    """One job on one thread: the same bits on any number of processes."""
    from threadpoolctl import threadpool_limits

    if os.getpid() != parent:
        _end_with(parent)
    with threadpool_limits(1):
        return work(*arguments)


@cache
def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone: nobody would read what it makes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
