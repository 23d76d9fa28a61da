"""Freed memory goes back to the system."""

import sys
from pathlib import Path

import numpy as np
import pytest

from adatom.core.memory import release_memory


def measure_own() -> float:
    text = Path("/proc/self/status").read_text()
    return float(text.split("RssAnon:")[1].split()[0]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_lies_between_kept_arrays_is_given_back():
    large, kept = [], []
    for _ in range(2000):
        large.append(np.ones(8000))  # 64 kB each, from the heap
        kept.append(np.ones(10))
    before = measure_own()
    large.clear()
    release_memory()
    assert measure_own() < before - 90  # MiB, of 122
    assert len(kept) == 2000
