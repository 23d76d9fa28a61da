"""Pictures of data sets."""

import numpy as np
import pandas as pd
import xarray as xr

from adatom.plots.examples import draw_examples


def make_example(n_foci, n_columns):
    rng = np.random.default_rng(0)
    coords = {name: np.arange(32) * 0.2 for name in "yx"} | {"focus": np.arange(n_foci) * 40.0}
    dims = ("focus", "y", "x")
    series = xr.DataArray(
        rng.poisson(9.0, (n_foci, 32, 32)), dims=dims, coords=coords, attrs={"dose": 225.0}
    )
    truth = pd.DataFrame(rng.uniform(0, 6, (n_columns, 2)), columns=["x", "y"])
    return series, truth.assign(label="M")


def test_a_series_is_drawn_with_its_foci_and_once_more_with_its_columns():
    figure = draw_examples([make_example(3, 5), make_example(2, 0)]).get_figure()
    axes = np.array(figure.axes).reshape(2, 4)
    assert [ax.get_title() for ax in axes[0]] == [
        "+0 Å, 225 e/Å²",
        "+40 Å, 225 e/Å²",
        "+80 Å, 225 e/Å²",
        "",
    ]
    assert [len(ax.images) for ax in axes.ravel()] == [1, 1, 1, 1, 1, 1, 0, 1]
    assert len(axes[0, 3].collections[0].get_offsets()) == 5
    assert not axes[1, 3].collections


def test_single_images_stand_beside_their_columns():
    series, truth = make_example(1, 4)
    image = series.isel(focus=0, drop=True)
    figure = draw_examples([(image, truth)]).get_figure()
    assert [len(ax.images) for ax in figure.axes] == [1, 1]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), image)
