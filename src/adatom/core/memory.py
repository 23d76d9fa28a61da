"""Memory that is free, but not yet given back."""

import contextlib
import ctypes


def release_memory() -> None:
    """Give freed memory back to the system, where the C library can (glibc).

    Small tables that are kept between the large arrays of frame after frame, or part after part,
    pin the memory of these, which then grows with their number.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
