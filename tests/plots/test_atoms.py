import numpy as np
import pytest
from matplotlib.figure import Figure

from adatom.plots.atoms import draw_atoms, draw_image


def test_pixel_centers_lie_at_their_coordinates(sheet):
    image, _ = sheet
    crop = image[20:80, 30:130]
    ax = draw_image(crop)
    np.testing.assert_allclose(ax.images[0].get_extent(), (5.9, 25.9, 15.9, 3.9))
    assert ax.texts[0].get_text() == "5 Å"


def test_circles_and_legend_tell_the_labels(sheet):
    image, atoms = sheet
    ax = draw_atoms(image, atoms)
    n_circles = [len(circles.get_offsets()) for circles in ax.collections]
    assert n_circles == [(atoms["label"] == label).sum() for label in ("M", "X2", "X1")]
    place = ax.collections[2].get_offsets()[0]
    np.testing.assert_allclose(place, atoms.loc[atoms["label"] == "X1", ["x", "y"]].iloc[0])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == f"M ({n_circles[0]})"


def test_counts_of_more_atoms_than_are_circled(sheet):
    image, atoms = sheet
    rare = atoms[atoms["label"] == "X1"]
    ax = draw_atoms(image, rare, counts={"M": 80_000, "X2": 0, "X1": 5})
    assert [len(circles.get_offsets()) for circles in ax.collections] == [0, len(rare)]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["M (80,000)", "X1 (5)"]


def test_draws_on_given_axes_and_without_atoms(sheet):
    image, atoms = sheet
    ax = Figure().add_subplot()
    assert draw_atoms(image, atoms.iloc[:0], ax=ax) is ax
    assert ax.get_legend() is None


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_flat_image_is_drawn(sheet, value):
    image, atoms = sheet
    ax = draw_atoms(image * 0 + value, atoms)
    ax.figure.canvas.draw()
    assert len(ax.images) == 1
