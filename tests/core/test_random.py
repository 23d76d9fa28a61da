"""Seeds, children and ranges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adatom.core.random import Draw, draw_value, make_child_rng


def test_children_do_not_depend_on_the_order_in_which_they_are_made():
    forward = [make_child_rng(7, 0, i).random() for i in range(5)]
    backward = [make_child_rng(7, 0, i).random() for i in reversed(range(5))][::-1]
    assert forward == backward
    assert len(set(forward)) == 5
    assert make_child_rng(7, 1, 0).random() != forward[0]


@given(st.floats(1e-3, 1e3), st.floats(1, 1e3), st.integers(0, 100))
def test_draws_stay_inside_their_range(low: float, ratio: float, seed: int):
    rng = np.random.default_rng(seed)
    for draw in (Draw(min=low, max=low * ratio), Draw(log_min=low, log_max=low * ratio)):
        assert low * (1 - 1e-12) <= draw_value(draw, rng) <= low * ratio * (1 + 1e-12)


def test_log_range_is_uniform_in_the_logarithm():
    rng = np.random.default_rng(0)
    values = np.array([draw_value(Draw(log_min=1, log_max=100), rng) for _ in range(2000)])
    assert abs(np.mean(values < 10) - 0.5) < 0.04


@pytest.mark.parametrize(
    "bad",
    [{"min": 1}, {"min": 2, "max": 1}, {"min": 0, "log_max": 1}, {"log_min": 0, "log_max": 1}, {}],
)
def test_half_or_turned_ranges_are_refused(bad: dict[str, float]):
    with pytest.raises(ValidationError):
        Draw(**bad)
