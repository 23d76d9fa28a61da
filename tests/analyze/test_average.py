"""Means of planted defects against what was planted."""

import numpy as np
import pytest

from adatom.analyze.average import average_defects
from adatom.analyze.library import add_cuts, read_library
from adatom.analyze.mean_image import sample_image
from adatom.core.errors import ConfigError
from adatom.core.materials import get_material
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

NOISE = 0.05


@pytest.fixture(scope="module")
def library(tmp_path_factory, plant_defect, source):
    folder, rng = tmp_path_factory.mktemp("library"), np.random.default_rng(8)
    for kind, n in (("Si1C3", 24), ("555-777", 6)):
        add_cuts(folder, kind, source, plant_defect(kind, n, noise=NOISE, rng=rng))
    return read_library(folder)


def true_bonds(kind):
    """Lengths of the bonds of silicon, and of those of carbon beside it, without noise."""
    sheet = make_sheet(get_material("graphene"), (36, 36), angle=0)
    sheet = insert_defect(sheet, kind, (18.0, 18.0), np.random.default_rng(0))
    return sheet, sheet.get_distances(sheet.numbers.argmax(), range(len(sheet)))


def test_mean_bonds_are_right_within_their_errors(library):
    found = average_defects(library, "Si1C3")
    assert len(found.entries) + found.n_left_out == 24
    assert found.n_symmetries == 6
    silicon = found.atoms.index[found.atoms["label"] == "Si"].item()
    mine = found.bonds[(found.bonds[["one", "other"]] == silicon).any(axis=1)]
    _, away = true_bonds("Si1C3")
    truth = np.sort(away)[1:4].mean()
    assert len(mine) == 3
    assert np.ptp(mine["length"]) < 1e-6  # they are one and the same by symmetry
    error = mine["length_err"].iloc[0]
    assert abs(mine["length"].iloc[0] - truth) < 3 * error
    # The three bonds share the silicon atom, at angles of 120 degrees.
    assert error == pytest.approx(NOISE * np.sqrt(1 / 3 / len(found.entries)), rel=0.35)


def test_spread_and_chi_are_those_of_the_noise(library):
    found = average_defects(library, "Si1C3")
    assert np.median(found.atoms["spread"]) == pytest.approx(NOISE, rel=0.1)
    assert np.median(found.atoms["chi"]) == pytest.approx(1, rel=0.1)
    assert np.nanmedian(found.atoms["x_err"]) < NOISE / 24**0.5


def test_the_mean_image_is_sharp_has_no_gain_and_shows_the_symmetry(library):
    found = average_defects(library, "Si1C3")
    mean, atoms = found.image["mean"], found.atoms
    values = [float(mean.sel(y=y, x=x, method="nearest")) for y, x in
              atoms[["y", "x"]].to_numpy()]  # fmt: skip
    silicon = (atoms["label"] == "Si").to_numpy()
    # Peaks blurred by the noise of the places: (14 / 6) ** 1.7 of carbon.
    assert np.array(values)[silicon].item() == pytest.approx(4.2, rel=0.06)
    assert np.median(np.array(values)[~silicon]) == pytest.approx(1, abs=0.03)
    turn = np.exp(2j * np.pi / 3)
    z = np.array([1.6 * np.exp(0.3j), 1.6 * np.exp(0.3j) * turn])
    si = atoms.loc[silicon, ["x", "y"]].to_numpy() @ [1, 1j]
    one, other = sample_image(mean, np.stack([(z + si).imag, (z + si).real], axis=1))
    assert one == pytest.approx(other, abs=0.02)


def test_rings_decide_between_turns_that_look_alike(library):
    # Turned by 60 degrees, the atoms of 555-777 nearly come to lie over each other.
    found = average_defects(library, "555-777")
    assert found.n_symmetries == 6
    assert np.median(found.atoms["spread"]) == pytest.approx(NOISE, rel=0.2)


def test_a_distortion_that_breaks_the_symmetry_is_in_chi(tmp_path, plant_defect, source):
    def pull(sheet):
        silicon = sheet.numbers.argmax()
        away = sheet.positions - sheet.positions[silicon]
        first = np.argsort(np.linalg.norm(away, axis=1))[1]
        sheet.positions[silicon] += 0.2 * away[first] / np.linalg.norm(away[first])

    rng = np.random.default_rng(4)
    add_cuts(tmp_path, "a", source, plant_defect("Si1C3", 8, noise=NOISE, rng=rng, move=pull))
    found = average_defects(read_library(tmp_path), "Si1C3")
    chi = found.atoms.set_index("label")["chi"]
    assert chi["Si"] > 2
    assert chi["C"].median() < 1.2


def test_a_single_defect_has_no_spread(tmp_path, plant_defect, source):
    add_cuts(
        tmp_path, "a", source, plant_defect("V_C", 1, noise=0.01, rng=np.random.default_rng(0))
    )
    found = average_defects(read_library(tmp_path), "V_C")
    assert found.atoms[["x_err", "spread", "chi"]].isna().all(axis=None)
    assert found.bonds[["length_err", "spread"]].isna().all(axis=None)


def test_unknown_names_are_refused(library, tmp_path):
    with pytest.raises(ConfigError, match=r"holds Si1C3, 555-777 \(got 'Si9'\)"):
        average_defects(library, "Si9")
    cut = library.entries.assign(is_cut=True)
    with pytest.raises(ConfigError, match=r"all 24 Si1C3 .* are cut"):
        average_defects(type(library)(library.folder, cut), "Si1C3")
