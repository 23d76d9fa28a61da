"""Work in parts on several processes: the only door to dask's scheduler."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

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
    tasks = [alone(work, job) for job in jobs]
    with Progress():
        found = compute(
            tasks,
            scheduler="sync" if n_workers == 1 else "processes",
            num_workers=n_workers,
            chunksize=1,
            optimize_graph=False,
        )
    return list(found[0])


def _work_alone(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """One job on one thread: the same bits on any number of processes."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return work(*arguments)
