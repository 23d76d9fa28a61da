import numpy as np
import pytest

from adatom.plots.atoms import order_labels
from adatom.plots.style import COLORS, label_colors, round_length, shrink_image, write_image_png


def test_each_label_has_its_own_color():
    colors = label_colors(["M", "C", "X1", "Si", "X2", "dopant"])
    assert len(set(colors.values())) == 6
    assert colors["M"] == COLORS[0]


@pytest.mark.parametrize(("length", "round_one"), [(9.99, 5), (10, 10), (49, 20), (0.3, 0.2)])
def test_scale_bar_is_round(length, round_one):
    assert round_length(length) == pytest.approx(round_one)


def test_big_images_are_averaged_not_sampled():
    image = np.indices((3300, 2000)).sum(axis=0)
    small = shrink_image(image)
    assert small.shape == (1100, 666)
    assert small[5, 7] == image[15:18, 21:24].mean()
    assert shrink_image(image[:1600, :1600]).shape == (1600, 1600)


def test_png_says_which_part_it_shows(tmp_path):
    assert write_image_png(np.eye(100), tmp_path / "small.png") == (100, 100)
    assert write_image_png(np.zeros((1701, 1601)), tmp_path / "big.png") == (1700, 1600)


def test_labels_of_atoms_have_the_colors_of_their_roles():
    """Whatever the order, and whichever of them is there: figures and report agree."""
    assert list(label_colors(["S1", "Mo"]).values()) == list(label_colors(["X1", "M"]).values())
    assert order_labels(["S1", "C", "S2", "Mo"]) == ["Mo", "S2", "S1", "C"]
