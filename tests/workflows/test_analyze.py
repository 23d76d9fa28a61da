import json
import weakref
from dataclasses import replace

import ase.io
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import adatom.detect.atoms
import adatom.networks.model
from adatom.core.errors import CalibrationError, FileError
from adatom.core.random import make_rng
from adatom.core.runs import find_checksum
from adatom.images.normalize import FOCAL_NORMALIZATION
from adatom.images.write import write_image
from adatom.metrics.detection import score_atoms
from adatom.networks.model import Calibration, Model, ModelCard, build_network
from adatom.simulate.movie import simulate_movie
from adatom.simulate.recipe import load_recipe
from adatom.simulate.wave_set import take_series
from adatom.workflows.analyze import AnalyzeConfig, analyze_image
from adatom.workflows.choose import choose_folders


def test_run_folder_holds_all(truth, tmp_path):
    image, atoms, _ = truth
    write_image(image, tmp_path / "sheet.zarr")
    texts = []
    result = analyze_image(
        tmp_path / "sheet.zarr",
        tmp_path / "out",
        config=AnalyzeConfig(material="mos2"),
        report=lambda done, in_all, text: texts.append(text),
    )
    assert result.folder == tmp_path / "out" / "sheet.adatom"
    names = {path.name for path in result.folder.iterdir()}
    tables = ("atoms", "defects", "defect_members", "sites")
    assert names == {f"{table}.{kind}" for table in tables for kind in ("csv", "parquet")} | {
        *("figures", "log.txt", "report.html", "run.json", "structure.extxyz")
    }
    pd.testing.assert_frame_equal(pd.read_parquet(result.folder / "atoms.parquet"), atoms)
    record = json.loads((result.folder / "run.json").read_text())
    assert record["input"]["sha256"] == find_checksum(tmp_path / "sheet.zarr")
    assert record["summary"]["n_atoms"] == len(atoms)
    assert record["calibration"]["pixel_size"] == pytest.approx([0.2, 0.2])
    assert record["image"]["view"] == pytest.approx(
        {"left": -0.1, "top": -0.1, "width": 28, "height": 28}
    )
    assert record["model"]["name"] == "fake"
    assert texts == [*("read", "calibrate", "load model", "find atoms", "find defects", "write")]
    assert list(record["timings"]) == texts
    assert result.warnings == ()


def test_movie_keeps_frame_numbers_and_empty_frames(truth, tmp_path):
    image, atoms, _ = truth
    movie = xr.concat([image, image * 0, image], dim="frame").assign_coords(frame=[4, 5, 9])
    write_image(movie, tmp_path / "movie.zarr")
    result = analyze_image(tmp_path / "movie.zarr", tmp_path)
    assert result.atoms["frame"].value_counts().to_dict() == {4: len(atoms), 9: len(atoms)}
    density = result.summary["labels"][0]["density"]
    assert density == pytest.approx(100 * 2 * (atoms["label"] == "M").sum() / (3 * 784), rel=1e-6)
    page = (result.folder / "report.html").read_text()
    assert "Frame number 4 is shown, the movie has 3 frames." in page
    assert page.count("<circle") == len(atoms)
    assert (result.folder / "figures" / "counts.svg").exists()


def make_focal_model():
    """A network that draws Mo where the middle image is bright, and nothing else."""
    card = ModelCard(
        name="bright",
        labels=("Mo", "S2", "S1"),
        network={"kind": "msdnet", "depth": 2},
        focal_series=(-30.0, 20.0, 70.0),
        materials=("MoS2",),
        pixel_size=0.2,
        pixel_size_range=(0.1, 0.3),
        normalization=FOCAL_NORMALIZATION,
        calibration=Calibration(
            weights=tuple(map(tuple, np.eye(3))),
            offsets=(0, 0, 0),
            prior=(0.5, 0.4, 0.1),
            position=(np.log(0.1), 0.0),
        ),
    )
    model = Model(build_network(card).eval(), card)
    model.network.head.weight.data[0, 1] = 4.0
    model.network.head.bias.data[:] = torch.tensor([-6.0, -9.0, -9.0])
    return model


def test_three_files_are_one_focal_series(sheet, tmp_path, monkeypatch):
    image, atoms = sheet
    monkeypatch.setattr(adatom.networks.model, "load_model", lambda name: make_focal_model())
    image.attrs["modality"] = "HRTEM"
    paths = [tmp_path / f"{name}.zarr" for name in ("over", "middle", "under")]
    for path, values in zip(paths, (-image, image, 0 * image), strict=True):
        write_image(values.assign_attrs(image.attrs), path)
    config = AnalyzeConfig(material="MoS2", model="bright", focus=(-30, 20, 70))
    result = analyze_image(paths, tmp_path, config=config)
    assert result.folder == tmp_path / "over.adatom"
    assert result.warnings == ()
    metals = atoms.loc[atoms["label"] == "M", ["x", "y"]].to_numpy()
    inner = metals[((metals > 2) & (metals < 26)).all(axis=1)]
    found = result.atoms[["x", "y"]].to_numpy()
    away = np.linalg.norm(inner[:, None] - found, axis=2).min(axis=1)
    assert away.max() < 0.1
    assert set(result.atoms["label"]) == {"Mo"}
    assert result.atoms["x_err"].unique() == pytest.approx([0.1])
    record = json.loads((result.folder / "run.json").read_text())
    assert record["image"]["focus"] == [-30, 20, 70]
    assert record["input"]["name"] == "over.zarr and 2 more"
    assert "focal series of 3 images" in (result.folder / "report.html").read_text()
    assert not (result.folder / "figures" / "intensities.svg").exists()
    structure = ase.io.read(result.folder / "structure.extxyz")
    assert set(structure.symbols) == {"Mo"}


@pytest.mark.parametrize(
    ("stop_at", "is_changed"), [("2 frames", 0), ("2 frames", 1), ("write", 0)]
)
def test_a_stopped_movie_continues(truth, tmp_path, stop_at, is_changed):
    image, atoms, seen = truth
    movie = xr.concat([image, image, image * 0, image], dim="frame")
    write_image(movie, tmp_path / "movie.zarr")

    def stop(done, in_all, text):
        if stop_at in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyze_image(tmp_path / "movie.zarr", tmp_path, report=stop)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"movie.zarr", ".movie.unfinished"}
    n_before, texts = len(seen), []
    config = AnalyzeConfig(pixel_size=0.201 if is_changed else None)
    report = lambda done, in_all, text: texts.append(text)  # noqa: E731
    result = analyze_image(tmp_path / "movie.zarr", tmp_path, config=config, report=report)
    assert len(seen) - n_before == (4 if is_changed else 2 if "frames" in stop_at else 0)
    assert ("find atoms: 1 frames" in texts) == is_changed
    assert result.atoms["frame"].value_counts().to_dict() == dict.fromkeys((0, 1, 3), len(atoms))
    assert not (tmp_path / ".movie.unfinished").exists()


def test_movies_are_not_held_in_memory(truth, tmp_path, monkeypatch):
    image, atoms, _ = truth
    write_image(xr.concat([image] * 4, dim="frame"), tmp_path / "movie.zarr")
    monkeypatch.setattr("adatom.images.read.LAZY_BYTES", 100)
    frames = []

    def find_atoms(frame, model, config, done, view):
        frames.append(weakref.ref(frame.data))
        assert sum(known() is not None for known in frames) <= 2
        yield atoms

    monkeypatch.setattr(adatom.detect.atoms, "find_atoms_by_part", find_atoms)
    analyze_image(tmp_path / "movie.zarr", tmp_path)
    assert len(frames) == 4


def test_an_error_leaves_nothing_behind(truth, tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", truth[0].to_numpy())

    def fail(frame, model, config, done, view):
        raise FileError("a.npy: breaks off")
        yield

    monkeypatch.setattr(adatom.detect.atoms, "find_atoms_by_part", fail)
    with pytest.raises(FileError, match="breaks off"):
        analyze_image(tmp_path / "a.npy", tmp_path, config=AnalyzeConfig(pixel_size=0.2))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_wrong_pixel_size_is_doubted(truth, tmp_path):
    np.save(tmp_path / "a.npy", truth[0].to_numpy())
    settings = AnalyzeConfig(material="MoS2", pixel_size=0.24)
    result = analyze_image(tmp_path / "a.npy", tmp_path / "mine.adatom", config=settings)
    assert result.folder == tmp_path / "mine.adatom"
    assert any("disagree" in warning for warning in result.warnings)
    assert "disagree" in (result.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("settings", "header", "names"),
    [
        ({}, 0.2, ("haadf-mx2", "like that of MoS2")),
        ({"material": "graphene"}, 0.2, ("haadf-graphene", "for graphene")),
        ({}, 0.23, ("haadf-general", "do not make")),
        ({"model": "haadf-graphene"}, 0.2, ("haadf-graphene", "was named")),
    ],
)
def test_model_is_chosen_by_name_material_or_lattice(truth, tmp_path, settings, header, names):
    np.save(tmp_path / "a.npy", truth[0].to_numpy())
    config = AnalyzeConfig(**settings, pixel_size=header)
    result = analyze_image(tmp_path / "a.npy", tmp_path, config=config)
    assert names[1] in json.loads((result.folder / "run.json").read_text())["model"]["choice"]
    assert f"{names[0]}: " in (result.folder / "log.txt").read_text()


def test_an_image_noisier_than_the_training_is_doubted(truth, fake_model, tmp_path):
    image, atoms, _ = truth
    signal = float((atoms["intensity"] / atoms["intensity_err"]).median())
    write_image(image, tmp_path / "sheet.zarr")
    card = fake_model.card
    for lowest, is_doubted in ((0.9 * signal, False), (1.1 * signal, True)):
        fake_model.card = card.model_copy(update={"signal_range": (lowest, 1e3)})
        config = AnalyzeConfig(material="MoS2")
        result = analyze_image(tmp_path / "sheet.zarr", tmp_path / f"{lowest}", config=config)
        assert any("noisier" in warning for warning in result.warnings) == is_doubted


def test_nothing_is_left_after_an_error(truth, tmp_path):
    np.save(tmp_path / "a.npy", truth[0].to_numpy())
    with pytest.raises(CalibrationError, match="no pixel size"):
        analyze_image(tmp_path / "a.npy", tmp_path / "out")
    with pytest.raises(FileError, match="does not exist"):
        analyze_image(tmp_path / "b.npy", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_inputs_of_one_name_get_folders_of_their_own(tmp_path):
    paths = [tmp_path / "1" / "a.tif", tmp_path / "2" / "a.tif", tmp_path / "b.tif"]
    names = [place.name for place in choose_folders(paths, None, "HAADF 2/b")]
    assert names == [f"{name}_HAADF-2-b.adatom" for name in ("1_a.tif", "2_a.tif", "b")]


@pytest.mark.parametrize("use_lattice", [True, False])
def test_lattice_is_left_out_on_request(truth, tmp_path, use_lattice):
    image, _, seen = truth
    write_image(image, tmp_path / "sheet.zarr")
    config = AnalyzeConfig(use_lattice=use_lattice)
    analyze_image(tmp_path / "sheet.zarr", tmp_path, config=config)
    assert [found.refine.use_lattice for found in seen] == [use_lattice]


def test_a_series_of_another_focus_or_dose_is_doubted(sheet, tmp_path, monkeypatch):
    image, _ = sheet
    model = make_focal_model()
    card = model.card.model_copy(
        update={"defocus_range": (-40.0, 40.0), "dose_range": (5 / 0.04, 20 / 0.04)}
    )
    monkeypatch.setattr(adatom.networks.model, "load_model", lambda name: replace(model, card=card))
    values = np.stack([image + 10 - image.mean()] * 3)
    for focus, dose, said in (
        ((-60, -10, 40), 1.0, ()),
        ((130, 180, 230), 1.0, ("+160 Å off",)),
        ((-30, 20, 70), 0.2, ("50 e/Å²",)),
    ):
        write_image(
            xr.DataArray(
                dose * values,
                dims=("focus", "y", "x"),
                coords={"focus": list(focus), "y": image.y, "x": image.x},
                attrs={"units": "electrons", "modality": "HRTEM"},
            ),
            tmp_path / "series.zarr",
        )
        config = AnalyzeConfig(material="MoS2", model="bright")
        result = analyze_image(tmp_path / "series.zarr", tmp_path, config=config)
        assert len(result.warnings) == len(said)
        assert all(text in warning for text, warning in zip(said, result.warnings, strict=True))


def test_a_movie_of_a_particle_is_analyzed_frame_by_frame(tmp_path):
    recipe = load_recipe("hrtem_au")
    kind = recipe.structure[0].model_copy(update={"radius": 8.0, "film": 10.0, "tilt": 0.0})
    camera = recipe.detector.model_copy(update={"dose": 2000.0, "pixel_size": 0.1})
    scope = recipe.microscope.model_copy(update={"defocus": -80.0, "C30": -1e5, "C12": 5.0})
    small = recipe.dataset.model_copy(update={"size": 24.0})
    changes = {"structure": (kind,), "detector": camera, "microscope": scope, "dataset": small}
    recipe = recipe.model_copy(update=changes)
    recipe = recipe.model_copy(update={"microscope": recipe.microscope.draw(make_rng(0))})
    waves = simulate_movie(recipe, 2, 3)
    frames = [take_series(wave, recipe, 5).isel(focus=0, drop=True) for wave in waves]
    movie = xr.concat(frames, dim="frame")
    movie.attrs = {"modality": "HRTEM", "units": "electrons", "energy_eV": 300e3}
    write_image(movie, tmp_path / "movie.zarr")
    config = AnalyzeConfig(model="hrtem-au", focus=(-80.0,))
    result = analyze_image(tmp_path / "movie.zarr", tmp_path, config=config)
    assert not any("defocus" in note for note in result.warnings)
    for frame, wave in enumerate(waves):
        found = result.atoms[result.atoms["frame"] == frame]
        scores = score_atoms(found, wave.truth, ("column",))
        assert scores["sites"]["f1"] > 0.9


def test_an_image_of_dopants_alone_is_doubted(truth, tmp_path):
    image, atoms, _ = truth
    atoms["label"] = np.where(atoms.index % 3 == 0, "dopant", atoms["label"])
    write_image(image, tmp_path / "sheet.zarr")
    result = analyze_image(tmp_path / "sheet.zarr", tmp_path, config=AnalyzeConfig(material="MoS2"))
    (note,) = result.warnings
    assert note.startswith("34% of the columns are called dopants")
    assert "--model haadf-general" in note
