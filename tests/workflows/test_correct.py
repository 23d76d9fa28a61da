"""Aberrations that fool the network are taken out, and what was done is said."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from ase.build import make_supercell, mx2

from adatom.core.errors import ConfigError
from adatom.core.tables import make_atoms
from adatom.detect.atoms import FindConfig, find_atoms
from adatom.learn.focal import count_columns
from adatom.networks.model import load_model
from adatom.optics.transfer import ImagingMicroscope
from adatom.simulate.hrtem import Camera, simulate_focal_series
from adatom.simulate.multislice import simulate_exit_wave
from adatom.workflows.correct import _take_part, correct_atoms, correct_table
from adatom.workflows.record import describe_microscope

FOCI = (-30.0, 20.0, 70.0)
ASTIGMATIC = ImagingMicroscope(
    energy_eV=60e3,
    defocus=-28,
    focal_series=FOCI,
    C12=49,
    phi12=0,
    C21=200,
    phi21=10,
    C23=100,
    C30=1.9e5,
    focal_spread=30,
)


@pytest.fixture(scope="module")
def model():
    return load_model("hrtem-mos2")


@pytest.fixture(scope="module")
def astigmatic():
    """A monolayer with vacancies and a hole in a microscope with astigmatism, and its columns."""
    rng = np.random.default_rng(4)
    cell = mx2("MoS2", a=3.16, thickness=3.13, vacuum=3)
    sheet = make_supercell(cell, [[1, 0, 0], [1, 2, 0], [0, 0, 1]]) * (12, 7, 1)
    middle = np.diag(sheet.cell)[:2] / 2
    away = np.linalg.norm(sheet.positions[:, :2] - middle, axis=1)
    is_upper = sheet.positions[:, 2] > sheet.positions[:, 2].mean() + 0.5
    is_lost = is_upper & (rng.random(len(sheet)) < 0.06)
    sheet = sheet[~is_lost & (away > 6)]
    u2 = np.where(sheet.numbers == 42, 0.0038, 0.0066)
    wave = simulate_exit_wave(sheet, 60e3, displacements=u2).crop(1.5)
    series = simulate_focal_series(wave, ASTIGMATIC, Camera(pixel_size=0.12, dose=4e3), 5)
    places = sheet.positions[:, :2].round(2)
    columns = pd.DataFrame({"x": places[:, 0], "y": places[:, 1], "number": sheet.numbers})
    truth = columns.groupby(["x", "y"], as_index=False).agg(
        number=("number", "first"), n_atoms=("number", "size")
    )
    is_metal = truth["number"] == 42
    truth["label"] = np.where(is_metal, "Mo", np.where(truth["n_atoms"] == 2, "S2", "S1"))
    return series, truth


def score(atoms, series, truth):
    ends = np.array([[float(series[axis][end]) for axis in ("y", "x")] for end in (0, -1)])
    limits = ends[0] + 2, ends[1] - 2
    return count_columns(atoms, truth, ("Mo", "S2", "S1"), limits)["f1"]


def test_columns_are_found_once_the_astigmatism_is_out(astigmatic, model):
    series, truth = astigmatic
    series = series.assign_coords(focus=list(FOCI))  # the offset of the focus is not known
    before = find_atoms(series, model)
    found = correct_atoms(series, before, model)
    assert found.is_better
    assert score(before, series, truth) < 0.8
    assert score(found.atoms, series, truth) > 0.97
    assert found.explained > found.explained_before + 0.2
    assert pytest.approx(49, abs=5) == found.fit.lens.C12
    assert found.atoms.columns.tolist() == before.columns.tolist()
    table, notes, again = correct_table(series, before, model, FindConfig())
    assert table.equals(found.atoms)
    assert notes == ()
    assert again.fit.chi_square == found.fit.chi_square
    told = describe_microscope(again)
    assert told["C12"] == pytest.approx(49, abs=5)
    assert told["wanted_focus"] == 20
    json.dumps(told)


def test_without_a_lattice_nothing_is_corrected(astigmatic, model):
    series, _ = astigmatic
    noise = series.copy(data=np.random.default_rng(0).poisson(50, series.shape))
    atoms = find_atoms(noise, model)
    assert correct_atoms(noise, atoms, model) is None
    table, (note,), found = correct_table(noise, atoms, model, FindConfig())
    assert table is atoms
    assert found is None
    assert "no microscope explains its lattice" in note


def test_right_columns_of_the_series_as_it_was_are_kept(astigmatic, model):
    """The truth explains more than what the network finds, whatever it finds."""
    series, truth = astigmatic
    sites = ((truth["x"] > 0) & (truth["y"] > 0)).to_numpy()
    truth = truth[sites].reset_index(drop=True)
    filled = {name: truth[name].to_numpy() for name in ("x", "y", "label")}
    ones = {"score": 0.9, "score_none": 0.04, "x_err": 0.1, "y_err": 0.1}
    ones |= {"intensity": np.nan, "intensity_err": np.nan}
    ones |= {f"score_{label}": 0.32 for label in model.card.labels}
    table = make_atoms(
        filled | {name: np.full(len(truth), value) for name, value in ones.items()},
        model.card.labels,
    )
    found = correct_atoms(series.assign_coords(focus=list(FOCI)), table, model)
    assert not found.is_better
    assert score(found.atoms, series, truth) > 0.99
    halves = found.atoms.loc[found.atoms["label"] == "S1", "intensity"]
    assert halves.mean() == pytest.approx(0.5, abs=0.1)


def test_the_part_that_is_looked_at_holds_most_cells():
    side = np.arange(0, 160, 0.5)
    series = xr.DataArray(
        np.zeros((1, 320, 320)),
        dims=("focus", "y", "x"),
        coords={"y": side - 20, "x": side},
    )
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 300), rng.uniform(45, 75, 300)
    origins = np.column_stack([60 + radius * np.sin(angle), 80 + radius * np.cos(angle)])
    corner = np.array([-15, 5]) + rng.uniform(0, 50, (400, 2))
    part = _take_part(series, np.vstack([origins, corner]))
    ends = [(float(part[axis][0]), float(part[axis][-1])) for axis in ("y", "x")]
    for (low, high), first in zip(ends, (-15, 5), strict=True):
        assert low <= first
        assert first + 50 <= high
    small = _take_part(series[:, :60, :70], corner)
    assert small.shape == (1, 60, 70)


def test_what_is_not_known_is_asked_for(astigmatic, model):
    series, _ = astigmatic
    atoms = find_atoms(series, model)
    unknown = series.copy()
    del unknown.attrs["energy_eV"]
    with pytest.raises(ConfigError, match="energy_eV: must be given"):
        correct_atoms(unknown, atoms, model)
    assert "--energy" in correct_table(unknown, atoms, model, FindConfig())[1][0]
    with pytest.raises(ConfigError, match=r"energy_eV: must be 10000 eV at least \(got 60\)"):
        correct_atoms(series, atoms, model, energy_eV=60)
    other = type(model)(model.network, model.card.model_copy(update={"materials": ("graphene",)}))
    with pytest.raises(ConfigError, match="focal series of an MX2 monolayer"):
        correct_atoms(series, atoms, other)
    assert "what the network says" in correct_table(series, atoms, other, FindConfig())[1][0]
    assert correct_table(series.isel(focus=0), atoms, model, FindConfig()) == (atoms, (), None)
