import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from adatom import cli
from adatom.images.write import write_image
from adatom.optics.aberration_table import read_aberrations
from adatom.optics.ceos import to_krivanek
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.tableau import simulate_film

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
    recipe = f"tilts = {TILTS}\n[film]\norder = 2\ndefocus = 1000\nfocus_walk = 0.5\n"
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
    record = json.loads((run / "run.json").read_text())
    assert record["config"]["film"]["defocus"] == 1000


def test_wrong_recipes_are_refused(folder, tmp_path, capsys):
    wrong = {
        "both.toml": ("tilts = [[0, 0]]", "one of the tables [film] and [probe] must be there"),
        "many.toml": ("tilts = [[0, 0]]\n[film]", "images: must be 1 for 1 tilts (got 5)"),
        "probe.toml": ("tilts = [[0, 0], [9, 0]]\n[probe]", "must be 6 for 2 tilts (got 5)"),
        "key.toml": ("tilts = [[0, 0]]\n[film]\ndefcus = 3", "film.defcus: extra inputs are not"),
    }
    for name, (text, message) in wrong.items():
        (tmp_path / name).write_text(text)
        command = ["tableau", tmp_path / name, folder / "images", "--out", tmp_path]
        assert cli.main([str(part) for part in command]) == 1
        assert message in capsys.readouterr().err
