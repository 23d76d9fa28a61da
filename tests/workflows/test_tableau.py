import json
import tomllib

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom import cli
from adatom.core.errors import FileError, ImageError
from adatom.images.write import write_image
from adatom.optics.aberration_table import read_aberrations
from adatom.optics.ceos import to_krivanek
from adatom.optics.microscope import electron_wavelength
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.tableau import simulate_film
from adatom.workflows.tableau import TableauRecipe, read_frames, run_tableau

TILTS = [[0, 0], [12, 0], [0, 12], [-12, 0], [0, -12]]
TRUTH = {"C1": -1000 + 0j, "B2": 300 + 0j}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five images of a film, and their recipe."""
    folder = tmp_path_factory.mktemp("tableau")
    (folder / "images").mkdir()
    line = np.arange(288) * 0.5
    for number, (x, y) in enumerate(TILTS):
        scope = ImagingMicroscope(
            energy_eV=200e3,
            focal_spread=35,
            beam_tilt=np.hypot(x, y),
            beam_azimuth=np.rad2deg(np.arctan2(y, x)),
            **to_krivanek(TRUTH),
        )
        values = simulate_film(scope, 288, 0.5, dose=2000, rng=number)
        image = xr.DataArray(values, dims=("y", "x"), coords={"y": line, "x": line})
        write_image(image, folder / "images" / f"tilt_{number}.tif")
    recipe = (
        f"tilts = {TILTS}\n[film]\nenergy_eV = 200e3\norder = 2\ndefocus = 1000\nfocus_walk = 0.5\n"
    )
    (folder / "lens.toml").write_text(recipe)
    return folder


def test_a_tableau_leaves_table_tilts_and_figure(folder, tmp_path, capsys):
    command = ["tableau", folder / "lens.toml", folder / "images", "--out", tmp_path, "--json"]
    assert cli.main([str(part) for part in command]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["coefficients"]["B2"]["x"] == pytest.approx(300, abs=150)
    run = tmp_path / "lens.adatom"
    table = read_aberrations(run / "aberrations.toml")
    assert list(table.values) == ["C1", "A1", "B2", "A2"]
    assert table.covariance.shape == (7, 7)
    assert table.values["C1"].real == pytest.approx(-1000, abs=20)
    assert read_aberrations(run / "aberrations.csv").errors.keys() == table.errors.keys()
    tilts = pd.read_csv(run / "tilts.csv")
    assert list(tilts["tilt_x (mrad)"]) == [0, 12, 0, -12, 0]
    assert (run / "figures" / "tableau.png").stat().st_size > 5000
    page = (run / "report.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in table.values)
    record = json.loads((run / "run.json").read_text())
    assert record["config"]["film"]["defocus"] == 1000


def test_wrong_recipes_are_refused(folder, tmp_path, capsys):
    wrong = {
        "both.toml": ("tilts = [[0, 0]]", "one of the tables [film] and [probe] must be there"),
        "many.toml": ("tilts = [[0, 0]]\n[film]", "images: must be 1 for 1 tilts (got 5)"),
        "probe.toml": ("tilts = [[0, 0], [9, 0]]\n[probe]", "must be 6 for 2 tilts (got 5)"),
        "energy.toml": (f"tilts = {TILTS}\n[film]", "energy.toml: film.energy_eV must be given"),
        "key.toml": ("tilts = [[0, 0]]\n[film]\ndefcus = 3", "film.defcus: extra inputs are not"),
    }
    for name, (text, message) in wrong.items():
        (tmp_path / name).write_text(text)
        command = ["tableau", tmp_path / name, folder / "images", "--out", tmp_path]
        assert cli.main([str(part) for part in command]) == 1
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.adatom"))


def write_noise(path, shape=(64, 64), dims=("y", "x"), step=0.5, **more) -> None:
    values = np.random.default_rng(1).poisson(100, shape).astype(np.float32)
    coords = {name: step * np.arange(n) for name, n in zip(dims[-2:], shape[-2:], strict=True)}
    if "focus" in dims:
        coords["focus"] = more.pop("focus")
    write_image(xr.DataArray(values, dims=dims, coords=coords, attrs=more), path)


def make_recipe(text: str) -> TableauRecipe:
    return TableauRecipe.from_mapping(tomllib.loads(text), source="a.toml")


def test_images_of_one_tableau_must_be_alike(tmp_path):
    write_noise(tmp_path / "a.zarr", energy_eV=300e3)
    recipe = make_recipe("tilts = [[0, 0]]\n[film]")
    assert read_frames([tmp_path / "a.zarr"], recipe).energy == 300e3
    others = {
        "shape": ({"shape": (64, 60)}, r"shape and pixel size of the first.*got \(64, 60\)"),
        "step": ({"step": 0.6}, r"and 0\.5 Å along both axes \(got .*0\.6 and 0\.6 Å"),
        "energy": ({"energy_eV": 200e3}, r"energy of the first image, 300000 eV \(got 200000 eV"),
        "focus": (
            {"shape": (3, 64, 64), "dims": ("focus", "y", "x"), "focus": [0, 1, 2]},
            r"must not be a focal series for \[film\]",
        ),
    }
    for name, (change, message) in others.items():
        write_noise(tmp_path / f"{name}.zarr", **change)
        with pytest.raises(ImageError, match=rf"{name}\.zarr: .*{message}"):
            read_frames([tmp_path / "a.zarr", tmp_path / f"{name}.zarr"], recipe)
    with pytest.raises(FileError, match=r"gone\.tif: does not exist"):
        read_frames([tmp_path / "gone.tif"], recipe)


def test_defoci_of_a_file_must_be_those_of_the_recipe(tmp_path):
    recipe = make_recipe("tilts = [[0, 0]]\n[probe]\nfocal_series = [-200, 0, 200]")
    stack = {"shape": (3, 64, 64), "dims": ("focus", "y", "x")}
    write_noise(tmp_path / "right.zarr", focus=[-180.0, 20.0, 220.0], **stack)
    assert read_frames([tmp_path / "right.zarr"], recipe).values.shape == (3, 64, 64)
    write_noise(tmp_path / "wrong.zarr", focus=[220.0, 20.0, -180.0], **stack)
    with pytest.raises(ImageError, match=r"wrong\.zarr: must have the probe\.focal_series .*-180"):
        read_frames([tmp_path / "wrong.zarr"], recipe)


def test_the_energy_is_that_of_the_recipe_else_of_the_files(tmp_path):
    """The defocus of the same rings is as 1 over the wavelength."""
    found = {}
    film = simulate_film(
        ImagingMicroscope(energy_eV=200e3, focal_spread=35, defocus=1000),
        288,
        0.5,
        dose=2000,
        rng=1,
    )
    line = 0.5 * np.arange(288)
    image = xr.DataArray(
        film, dims=("y", "x"), coords={"y": line, "x": line}, attrs={"energy_eV": 300e3}
    )
    write_image(image, tmp_path / "film.zarr")
    for name, line in {"recipe": "energy_eV = 200e3", "files": ""}.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(f"tilts = [[0, 0]]\n[film]\norder = 1\ndefocus = 1000\n{line}\n")
        result = run_tableau(path, [tmp_path / "film.zarr"], tmp_path)
        found[name] = result.fit.table.values["C1"].real
        record = json.loads((result.folder / "run.json").read_text())
        assert record["config"]["film"]["energy_eV"] == (200e3 if line else 300e3)
    assert found["recipe"] == pytest.approx(-1000, abs=10)
    ratio = electron_wavelength(200e3) / electron_wavelength(300e3)
    assert found["files"] / found["recipe"] == pytest.approx(ratio, rel=0.01)
