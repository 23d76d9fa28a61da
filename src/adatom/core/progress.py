"""Progress on the terminal: drawn on stderr, silent where nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int, str], None]


def ignore_progress(done: int, in_all: int, text: str) -> None:
    """Show nothing: the default where a function reports its progress.

    Parameters
    ----------
    done : int
        Parts that are done.
    in_all : int
        All parts.
    text : str
        What is being done.
    """


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Report]:
    """Show a bar with what is being done, as long as the context lasts.

    Parameters
    ----------
    quiet : bool
        Show nothing. Nothing is shown either where stderr is no terminal.

    Yields
    ------
    callable
        To be called with (done, in all, text).
    """
    if quiet or not sys.stderr.isatty():
        yield ignore_progress
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
    )
    # Where stdout goes to a file or a pipe, what is printed must go there and not beside the bar.
    with progress.Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, in_all, text: bar.update(
            task, completed=done, total=in_all, description=text
        )
