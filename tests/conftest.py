import numpy as np
import pytest
import xarray as xr
from hypothesis import settings

from adatom.core.tables import make_atoms

# Machines that share their cores miss any deadline; seeds are fixed so that a failure repeats.
settings.register_profile("shared", deadline=None, derandomize=True)
settings.load_profile("shared")

LATTICE, PIXEL = 3.16, 0.2


@pytest.fixture
def sheet():
    """A clean MX2 sheet: image with a calibrated Gaussian at every column, and its atoms table."""
    steps = np.stack(np.mgrid[-9:10, -9:10], axis=-1).reshape(-1, 2)
    vectors = LATTICE * np.array([[1, 0], [0.5, 3**0.5 / 2]])
    metals = steps @ vectors + 14
    places = np.concatenate([metals, metals + vectors.sum(axis=0) / 3])
    labels = np.repeat(np.array(["M", "X2"], dtype=object), len(metals))
    inside = ((places > 0) & (places < 28)).all(axis=1)
    places, labels = places[inside], labels[inside]
    labels[np.flatnonzero(labels == "X2")[::10]] = "X1"
    axis = np.arange(140) * PIXEL
    heights = np.array([{"M": 1.0, "X2": 0.5, "X1": 0.25}[label] for label in labels])
    shape = np.exp(-((axis[None] - places[:, :, None]) ** 2) / (2 * 0.4**2))
    values = np.einsum("n,ny,nx->yx", heights, shape[:, 1], shape[:, 0])
    image = xr.DataArray(values, dims=("y", "x"), coords={"y": axis, "x": axis})
    image.attrs = {"units": "counts", "modality": "HAADF", "energy_eV": 60e3}
    n = len(places)
    columns = {"x": places[:, 0], "y": places[:, 1], "label": labels, "intensity": heights}
    columns |= {name: np.full(n, 0.9) for name in ("score", "score_M", "score_X2", "score_X1")}
    columns |= {name: np.full(n, 0.05) for name in ("x_err", "y_err", "intensity_err")}
    return image, make_atoms(columns | {"score_none": np.zeros(n)}, ("M", "X2", "X1"))
