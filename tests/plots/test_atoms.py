import numpy as np
import pytest
from matplotlib.figure import Figure

from adatom.plots import atoms as plots
from adatom.plots.atoms import choose_circled, draw_atoms, draw_image


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


def test_of_too_many_only_rare_labels_are_circled(sheet, monkeypatch):
    _, atoms = sheet
    rare = atoms[atoms["label"] == "X1"]
    assert choose_circled(atoms, "M").equals(atoms[atoms["label"] == "M"])
    monkeypatch.setattr(plots, "MOST_CIRCLES", len(rare) - 1)
    assert choose_circled(atoms, "M").empty
    assert choose_circled(atoms, "X1").equals(rare.iloc[:-1])


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
