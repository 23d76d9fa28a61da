"""Exit waves of a recipe: simulated, stored in few bytes, and taken out again as images."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import zarr

from adatom.core.errors import FileError
from adatom.core.random import draw_value, limits_of, make_rng
from adatom.simulate.hrtem import simulate_focal_series
from adatom.simulate.multislice import simulate_exit_wave
from adatom.simulate.recipe import HrtemRecipe
from adatom.simulate.specimen import RIM, Specimen, box_side, draw_specimen
from adatom.simulate.waves import ExitWave, Grid


@dataclass(frozen=True)
class StoredWave:
    """An exit wave in few bytes, and what is true of it.

    Attributes
    ----------
    values : (H, W, 2) float16 array
        Real and imaginary part of the spectrum over `scale`, frequencies up to `k_max` of its
        recipe.
    scale : float
        What they are multiplied with.
    energy_eV : float
        Energy of the electrons, eV.
    truth : DataFrame
        x, y (Å, in the box), label, n_atoms of the columns inside the image.
    """

    values: np.ndarray
    scale: float
    energy_eV: float
    truth: pd.DataFrame


def simulate_wave(recipe: HrtemRecipe, rng: np.random.Generator | int) -> StoredWave:
    """Simulate one specimen of a recipe and the wave behind it.

    Parameters
    ----------
    recipe : HrtemRecipe
        Ranges are drawn anew.
    rng : Generator or int
        Draws the specimen and the energy.

    Returns
    -------
    StoredWave
        Without microscope, camera and noise.
    """
    rng = make_rng(rng)
    energy = float(draw_value(recipe.microscope.energy_eV, rng))
    size = recipe.dataset.size
    return store_wave(draw_specimen(recipe.structure, recipe.specimen, size, rng), energy, recipe)


def store_wave(specimen: Specimen, energy_eV: float, recipe: HrtemRecipe) -> StoredWave:
    """Simulate the wave behind a specimen, as it is stored.

    Parameters
    ----------
    specimen : Specimen
        In a box for images of the recipe's size.
    energy_eV : float
        Energy of the electrons, eV.
    recipe : HrtemRecipe
        How finely it is calculated, and what is kept.

    Returns
    -------
    StoredWave
        Without microscope, camera and noise.
    """
    wave = simulate_exit_wave(
        specimen.structure,
        energy_eV,
        displacements=specimen.displacements,
        tilt=specimen.tilt,
        config=recipe.slices,
    )
    spectrum = wave.cut(recipe.dataset.k_max).spectrum
    scale = float(np.abs(spectrum.view(np.float32)).max())
    values = np.stack([spectrum.real, spectrum.imag], axis=-1) / scale
    places = specimen.truth[["x", "y"]].to_numpy() - RIM
    inside = np.flatnonzero(((places >= 0) & (places < recipe.dataset.size)).all(axis=1))
    truth = specimen.truth.iloc[inside].reset_index(drop=True)
    return StoredWave(values.astype(np.float16), scale, energy_eV, truth)


class WaveSet:
    """A data set of exit waves on disk; microscope and noise are drawn when an image is asked for.

    Parameters
    ----------
    folder : str or Path
        Of `simulate_dataset`.

    Attributes
    ----------
    recipe : HrtemRecipe
        What it was made from.

    Raises
    ------
    FileError
        If the folder holds no such data set.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            made = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
            self._waves = zarr.open_array(folder / "waves.zarr", mode="r")
            self._images = pd.read_parquet(folder / "images.parquet").set_index("image")
            truth = pd.read_parquet(folder / "truth.parquet")
            recipe = made["recipe"]
        except (OSError, ValueError, KeyError) as error:
            raise FileError(f"{folder}: holds no data set of exit waves ({error})") from error
        self._folder = folder
        self.recipe = HrtemRecipe.from_mapping(recipe, source=f"{folder}/dataset.json")
        self._truth = dict(list(truth.drop(columns="image").groupby(truth["image"])))
        self._no_columns = truth.drop(columns="image").iloc[:0]

    def __len__(self) -> int:
        return len(self._images)

    def load_wave(self, index: int) -> ExitWave:
        """The wave behind specimen number `index`, on a grid for images without aliasing."""
        scale, energy = self._images.loc[index, ["scale", "energy_eV"]].to_numpy(np.float64)
        values = np.asarray(self._waves[index], np.float32) * np.float32(scale)
        if not values[0, 0].any():
            raise FileError(f"{self._folder}/waves.zarr: wave {index} is missing")
        return _restore(values, float(energy), self.recipe)

    def truth(self, index: int) -> pd.DataFrame:
        """Columns of specimen number `index` inside the image: x, y (Å), label, n_atoms."""
        found = self._truth.get(index, self._no_columns)
        return found.reset_index(drop=True)

    def draw_series(
        self, index: int, rng: np.random.Generator | int
    ) -> tuple[xr.DataArray, pd.DataFrame]:
        """Focal series of specimen number `index` in a microscope that is drawn.

        Parameters
        ----------
        index : int
            Number of the specimen.
        rng : Generator or int
            Draws microscope, camera and noise.

        Returns
        -------
        series : DataArray
            Dims (focus, y, x), electrons per pixel.
        truth : DataFrame
            x, y (Å, by the coordinates of the series), label, n_atoms.
        """
        return _take_series(self.load_wave(index), self.recipe, rng), self.truth(index)


def simulate_series(
    recipe: HrtemRecipe, n_pixels: int, rng: np.random.Generator | int
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Simulate a specimen of a recipe and a focal series of it, without a data set.

    Parameters
    ----------
    recipe : HrtemRecipe
        Ranges are drawn anew; its size of the images is not used.
    n_pixels : int
        Height and width of the images.
    rng : Generator or int
        Draws everything.

    Returns
    -------
    series : DataArray
        Dims (focus, y, x), electrons per pixel.
    truth : DataFrame
        x, y (Å, by the coordinates of the series), label, n_atoms.
    """
    rng = make_rng(rng)
    return look_at(simulate_small_wave(recipe, n_pixels, rng), recipe, n_pixels, rng)


def simulate_small_wave(
    recipe: HrtemRecipe, n_pixels: int, rng: np.random.Generator | int
) -> StoredWave:
    """Simulate a specimen that fills images of so many pixels, and the wave behind it.

    Parameters
    ----------
    recipe, n_pixels, rng
        As of `simulate_series`.

    Returns
    -------
    StoredWave
        For `look_at` with as many pixels.
    """
    return simulate_wave(_resize(recipe, n_pixels), rng)


def look_at(
    stored: StoredWave, recipe: HrtemRecipe, n_pixels: int, rng: np.random.Generator | int
) -> tuple[xr.DataArray, pd.DataFrame]:
    """Focal series of a specimen in a microscope that is drawn.

    Parameters
    ----------
    stored : StoredWave
        Of `simulate_small_wave`.
    recipe, n_pixels, rng
        As of `simulate_series`.

    Returns
    -------
    series, truth
        As of `simulate_series`.
    """
    rng = make_rng(rng)
    series = take_series(stored, _resize(recipe, n_pixels), rng)
    top, left = (int(rng.integers(series.sizes[axis] - n_pixels + 1)) for axis in ("y", "x"))
    part = {"y": slice(top, top + n_pixels), "x": slice(left, left + n_pixels)}
    return series.isel(part), stored.truth


def take_series(
    stored: StoredWave, recipe: HrtemRecipe, rng: np.random.Generator | int
) -> xr.DataArray:
    """Whole focal series of a wave, in a microscope that is drawn.

    Parameters
    ----------
    stored : StoredWave
        Of `simulate_wave` or `simulate_movie`.
    recipe : HrtemRecipe
        Of the wave; ranges of its microscope and camera are drawn.
    rng : Generator or int
        For these, and the noise.

    Returns
    -------
    DataArray
        Dims (focus, y, x), electrons per pixel.
    """
    wave = _restore(stored.values.astype(np.float32) * stored.scale, stored.energy_eV, recipe)
    return _take_series(wave, recipe, rng)


def _resize(recipe: HrtemRecipe, n_pixels: int) -> HrtemRecipe:
    """A recipe whose images hold so many pixels."""
    # As large for all pixel sizes, so that the atoms are tabulated once. Whole pixels of the box
    # are not exactly those of the camera: one more covers the image.
    size = (n_pixels + 1) * limits_of(recipe.detector.pixel_size)[1]
    dataset = recipe.dataset.model_copy(update={"size": size})
    return recipe.model_copy(update={"dataset": dataset})


def _restore(values: np.ndarray, energy_eV: float, recipe: HrtemRecipe) -> ExitWave:
    """A stored wave on a grid for images without aliasing."""
    side = box_side(recipe.dataset.size)
    grid = Grid((values.shape[0], values.shape[1]), (side, side))
    wave = ExitWave(values[..., 0] + 1j * values[..., 1], grid, energy_eV)
    return wave.crop(recipe.dataset.k_max)


def _take_series(
    wave: ExitWave, recipe: HrtemRecipe, rng: np.random.Generator | int
) -> xr.DataArray:
    """Images of the inner part of a wave's box."""
    scope = recipe.microscope.model_copy(update={"energy_eV": wave.energy_eV})
    whole = simulate_focal_series(wave, scope, recipe.detector, rng)
    reach = slice(RIM, RIM + recipe.dataset.size)
    return whole.sel(y=reach, x=reach)
