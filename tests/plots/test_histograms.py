import numpy as np
import pandas as pd
import pytest

from adatom.plots import histograms


def count_all(ax):
    """Sum of the filled histograms (the steps below a curve)."""
    from matplotlib.container import BarContainer

    bars = [bar for box in ax.containers if isinstance(box, BarContainer) for bar in box]
    return sum(bar.get_height() for bar in bars)


def test_every_pair_is_counted_even_outside_the_bins():
    distances = np.r_[np.random.default_rng(1).normal(1.82, 0.05, 3000), 0.5, 9.0]
    ax = histograms.draw_neighbor_distances(distances, expected=1.824)
    assert count_all(ax) == 3002
    assert ax.get_xlim()[1] < 3
    assert ax.get_legend().get_texts()[0].get_text() == "material: 1.824 Å"


def test_errors_are_in_pm(sheet):
    _, atoms = sheet
    ax = histograms.draw_errors(atoms.assign(x_err=0.03))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["x: 3.0 pm", "y: 5.0 pm"]
    assert "pm" in ax.get_xlabel()


def test_counts_by_frame(sheet):
    _, atoms = sheet
    movie = pd.concat([atoms.assign(frame=3), atoms.iloc[:50].assign(frame=7)])
    ax = histograms.draw_counts(movie)
    line = ax.lines[0]
    assert list(line.get_xdata()) == [3, 7]
    assert list(line.get_ydata()) == [
        (movie.query(f"frame == {f}").label == "M").sum() for f in (3, 7)
    ]


@pytest.mark.parametrize("draw", [histograms.draw_scores, histograms.draw_intensities])
def test_labels_in_one_order(sheet, draw):
    _, atoms = sheet
    ax = draw(atoms)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["M", "X2", "X1"]


@pytest.mark.parametrize(
    "draw", [histograms.draw_scores, histograms.draw_intensities, histograms.draw_errors]
)
def test_nothing_found_is_drawn(sheet, draw):
    for ax in (
        draw(sheet[1].iloc[:0]),
        histograms.draw_neighbor_distances(np.empty(0), expected=1.8),
    ):
        ax.figure.canvas.draw()
        assert ax.get_xlabel()
        assert ax.get_ylabel()
