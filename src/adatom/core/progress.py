"""Progress on the terminal: drawn on stderr, silent where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[str], None]


def ignore_step(text: str) -> None:
    """Take a step's text and show nothing: the default where a function reports its steps.

    Parameters
    ----------
    text : str
        What is being done.
    """


@contextmanager
def show_progress(total: int, *, quiet: bool = False) -> Iterator[tuple[Step, Callable[[], None]]]:
    """Show what is being done, and how many of several inputs are done.

    Parameters
    ----------
    total : int
        Number of inputs.
    quiet : bool
        Show nothing. Nothing is shown either where stderr is no terminal.

    Yields
    ------
    tuple of (step, advance)
        `step(text)` says what is being done now, `advance()` counts one input as done.
    """
    if quiet or not sys.stderr.isatty():
        yield ignore_step, lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield (
            lambda text: progress.update(task, description=text),
            lambda: progress.advance(task),
        )
