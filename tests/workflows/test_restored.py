"""Atoms on what `adatom restore` left."""

import numpy as np
import pytest
import xarray as xr
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.feature import peak_local_max

from adatom import cli
from adatom.core.errors import ConfigError, FileError
from adatom.core.runs import read_record
from adatom.images.write import write_image
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_point_image
from adatom.restore.imaging import show_object
from adatom.simulate.objects import RestoreRecipe, simulate_object
from adatom.workflows.analyze import AnalyzeConfig, analyze_image
from adatom.workflows.restored import Restored

LENS = Microscope(source_size=0.7, defocus=-140, C12=40, phi12=30, C21=350, phi21=40, C23=900)
TABLE = "C1: 14 nm\nA1: 4 nm / 30°\nB2: 11.67 nm / 40°\nA2: 90 nm / 0°\n"
SETTINGS = ["--energy", "60e3", "--semi-angle", "30", "--source-size", "0.7"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An aberrated movie of two frames, one of them alone, and both restored."""
    folder = tmp_path_factory.mktemp("restored")
    (folder / "tableau.txt").write_text(TABLE, encoding="utf-8")
    recipe = RestoreRecipe(
        structure=({"kind": "mx2", "materials": ["MoS2"]},),
        microscope=LENS,
        detector={"peak_electrons": 1500.0},
    )
    examples = [simulate_object(recipe, seed) for seed in (1, 2)]
    frames = np.stack([example.image for example in examples])
    blurred = gaussian_filter(examples[0].object_function, 1.0)
    np.save(folder / "columns.npy", 0.2 * peak_local_max(blurred, min_distance=4, exclude_border=3))
    line = np.arange(96) * 0.2
    coords = {"frame": [3, 8], "y": line, "x": line}
    attrs = {"units": "electrons", "modality": "HAADF"}
    movie = xr.DataArray(frames, dims=("frame", "y", "x"), coords=coords, attrs=attrs)
    write_image(movie, folder / "movie.zarr")
    write_image(movie.isel(frame=0, drop=True), folder / "still.zarr")
    for name in ("movie", "still"):
        parts = (folder / f"{name}.zarr", "--probe", folder / "tableau.txt", *SETTINGS)
        assert cli.main([str(p) for p in ("restore", *parts, "--out", folder)]) == 0
    return folder


def test_columns_are_found_where_the_image_shows_a_false_lattice(folder, tmp_path):
    still, columns = folder / "still.zarr", np.load(folder / "columns.npy")
    found, misled = (
        analyze_image(still, tmp_path / name, config=AnalyzeConfig(model="haadf-mx2", restore=run))
        for name, run in (("view", folder / "still.adatom"), ("raw", None))
    )

    def count_right(atoms):
        return (cKDTree(atoms[["y", "x"]].to_numpy()).query(columns)[0] < 0.6).sum()

    assert count_right(found.atoms) > 0.95 * len(columns) > 60
    assert count_right(misled.atoms) < 0.1 * len(columns)
    assert len(misled.atoms) > len(columns)
    assert any("restored object function" in note for note in found.warnings)
    assert (found.folder / "figures" / "image.png").exists()
    assert read_record(found.folder)["config"]["restore"] == str(
        (folder / "still.adatom").resolve()
    )


def test_the_view_of_a_frame_has_its_probe_and_no_aberrations(folder):
    restored = Restored(folder / "movie.adatom")
    movie = restored.read_electrons()
    assert movie["frame"].to_numpy().tolist() == [3, 8]
    assert movie.attrs["units"] == "electrons"
    view = restored.view(movie.isel(frame=1))
    maps = xr.open_zarr(folder / "movie.adatom" / "maps" / "000008.zarr", consolidated=False)
    assert view.image.shape == movie.shape[1:]
    # Convolved with a probe, all light stays (but at the borders).
    light = float((maps["object_function"] + maps["background"]).sum())
    assert float(view.image.sum()) == pytest.approx(light, rel=0.05)
    spot = make_point_image(LENS.model_copy(update={"energy_eV": 60e3}), 65, 0.2)
    line = np.arange(-32, 33) * 0.2
    drawn = view.profile.evaluate_grid(line, line) * 0.2**2
    assert np.corrcoef(drawn.ravel(), spot.ravel())[0, 1] > 0.98
    assert drawn.max() < spot.max()  # atoms have a width


def test_no_structure_is_shown_where_the_electrons_tell_none(folder, tmp_path, capsys):
    line = np.arange(96) * 0.2
    flat = np.random.default_rng(5).poisson(20.0, (96, 96)).astype(float)
    attrs = {"units": "electrons", "modality": "HAADF"}
    image = xr.DataArray(flat, dims=("y", "x"), coords={"y": line, "x": line}, attrs=attrs)
    write_image(image, tmp_path / "flat.zarr")
    parts = (tmp_path / "flat.zarr", "--probe", folder / "tableau.txt", *SETTINGS)
    assert cli.main([str(p) for p in ("restore", *parts, "--out", tmp_path)]) == 0
    assert "tell structure from its mean in 0.0% of the image" in capsys.readouterr().err
    restored = Restored(tmp_path / "flat.adatom")
    assert restored.record["summary"]["share_structure"] == 0
    shown = restored.view(restored.read_electrons()).image.to_numpy()
    maps = xr.open_zarr(tmp_path / "flat.adatom" / "maps" / "000000.zarr", consolidated=False)
    lens = Microscope(energy_eV=60e3, semi_angle=30, source_size=0.7)
    parts = (maps[name].to_numpy() for name in ("object_function", "background"))
    guessed = show_object(*parts, make_point_image(lens, 65, 0.2))
    fine, left = (image - gaussian_filter(image, 10) for image in (guessed, shown))
    assert fine.std() > 0.1  # structure that is a guess
    assert left.std() < 0.25 * fine.std()  # what a mean over 2 Å varies
    assert "in 100% of the image, the mean is shown" in restored.read_electrons().attrs["note"]
    sheet = Restored(folder / "still.adatom")
    assert sheet.record["summary"]["share_structure"] > 0.99
    assert "the mean is shown" not in sheet.read_electrons().attrs["note"]


def test_a_movie_keeps_the_numbers_of_its_frames(folder, tmp_path):
    config = AnalyzeConfig(restore=folder / "movie.adatom", model="haadf-mx2")
    found = analyze_image(folder / "movie.zarr", tmp_path, config=config)
    assert sorted(found.atoms["frame"].unique()) == [3, 8]


def test_what_does_not_belong_together_is_refused(folder, tmp_path):
    def analyze(name, out=tmp_path, **options):
        return analyze_image(folder / name, out, config=AnalyzeConfig(**options))

    still = folder / "still.adatom"
    with pytest.raises(ConfigError, match=r"restored from this image \(got that of still\.zarr"):
        analyze("movie.zarr", restore=still)
    with pytest.raises(ConfigError, match=r"pixel_size: is that of the restored run.*got 0\.2"):
        analyze("still.zarr", restore=still, pixel_size=0.2)
    with pytest.raises(ConfigError, match=r"still\.adatom would be replaced"):
        analyze("still.zarr", out=folder, restore=still)
    place = analyze("still.zarr", model="haadf-mx2").folder
    with pytest.raises(FileError, match=r"must be a run folder of `adatom restore`.*`adatom analy"):
        analyze("still.zarr", out=tmp_path / "again", restore=place)
    assert (still / "maps" / "000000.zarr").exists()
