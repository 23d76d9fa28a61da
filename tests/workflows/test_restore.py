"""From a file and a tableau to a run folder with object functions."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from adatom import cli
from adatom.core.runs import read_record
from adatom.images.read import read_image
from adatom.images.write import write_image
from adatom.networks.restorer import load_restorer
from adatom.optics.microscope import Microscope
from adatom.simulate.objects import RestoreRecipe, simulate_object
from adatom.workflows.restore import RunConfig, find_microscopes

TABLE = "C1: 3 nm ± 1 nm\nA1: 2 nm / 30° ± 1 nm\nB2: 10 nm / 40° ± 5 nm\n"
SETTINGS = ["--energy", "60e3", "--semi-angle", "30", "--source-size", "0.7"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A movie of two frames, one of them alone, and a table of aberrations."""
    folder = tmp_path_factory.mktemp("restore")
    (folder / "tableau.txt").write_text(TABLE, encoding="utf-8")
    recipe = RestoreRecipe(
        structure=({"kind": "mx2", "materials": ["MoS2"]},),
        microscope=Microscope(source_size=0.7, defocus=-30, C12=20, phi12=30, C21=300, phi21=40),
        detector={"peak_electrons": 300.0},
    )
    frames = np.stack([simulate_object(recipe, seed).image for seed in (1, 2)])
    line = np.arange(96) * 0.2
    coords = {"frame": [3, 8], "y": line, "x": line}
    movie = xr.DataArray(frames, dims=("frame", "y", "x"), coords=coords)
    movie.attrs["units"] = "electrons"
    write_image(movie, folder / "movie.zarr")
    write_image(movie.isel(frame=0, drop=True), folder / "still.zarr")
    return folder


def run(*parts):
    return cli.main([str(part) for part in ("restore", *parts)])


def test_a_still_leaves_maps_picture_and_record(folder, tmp_path, capsys):
    probe = ("--probe", folder / "tableau.txt")
    assert run(folder / "still.zarr", *probe, *SETTINGS, "--out", tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reduced_chi_square"] == pytest.approx(1, abs=0.15)
    place = tmp_path / "still.adatom"
    maps = xr.open_zarr(place / "maps" / "000000.zarr", consolidated=False)
    assert {"object_function", "object_function_err", "residual"} <= set(maps.data_vars)
    written = read_image(place / "object_function.tif")
    assert np.allclose(written, maps["object_function"], rtol=1e-5)
    assert float(written.x[1] - written.x[0]) == pytest.approx(0.2, rel=1e-3)
    assert (place / "figures" / "restoration.png").stat().st_size > 10_000
    record = read_record(place)
    assert "<h1>still.zarr</h1>" in (place / "report.html").read_text()
    assert record["microscope"]["defocus"] == -30
    assert record["model"]["name"] == "deepstem"


def test_frames_of_a_movie_keep_their_numbers(folder, tmp_path):
    probe = ("--probe", folder / "tableau.txt")
    options = ("--method", "wiener", "--out", tmp_path)
    assert run(folder / "movie.zarr", *probe, *SETTINGS, *options) == 0
    names = sorted(path.name for path in (tmp_path / "movie.adatom" / "maps").iterdir())
    assert names == ["000003.zarr", "000008.zarr"]


def test_probes_are_drawn_from_the_errors_of_the_table(folder):
    config = RunConfig(probe=folder / "tableau.txt", semi_angle=28, energy=80e3)
    first, others = find_microscopes(config)
    assert first.defocus == -30
    assert abs(first.C21 - 300) < 1e-6
    assert first.semi_angle == 28
    spread = np.std([other.defocus for other in others])
    assert 3 < spread < 25
    fixed, drawn = find_microscopes(config.model_copy(update={"defocus": 5.0}))
    assert {scope.defocus for scope in (fixed, *drawn)} == {5.0}


def test_what_is_missing_is_named(folder, tmp_path, capsys):
    still = (folder / "still.zarr", "--out", tmp_path)
    table = ("--probe", folder / "tableau.txt")
    for options, named in (
        (("--probe", folder / "none.txt", *SETTINGS), "none.txt"),
        ((*table, *SETTINGS, "--method", "wiener", "--train"), "train"),
        ((*table, "--semi-angle", "30"), "energy: must be given"),
        ((*table, "--energy", "60e3"), "semi_angle"),
    ):
        assert run(*still, *options) != 0
        assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_network_learns_on_the_image_itself_before(folder, tmp_path):
    # In a process of its own, as from the command line: a training forks one that simulates.
    command = (
        "import sys; from adatom.cli import main; from adatom.workflows import restore; "
        "restore.N_STEPS = 2; sys.exit(main())"
    )
    parts = ["restore", folder / "still.zarr", "--probe", folder / "tableau.txt", "--train"]
    parts += [*SETTINGS, "--out", tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", command, *map(str, parts)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    own = load_restorer(tmp_path / "still.adatom" / "deepstem-own.json").card
    assert own.start["name"] == "deepstem"
    assert len(own.frames) == 1
    assert read_record(tmp_path / "still.adatom")["model"]["name"] == "deepstem-own"
