"""Means of planted defects against what was planted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from adatom.analyze.average import average_defects
from adatom.analyze.library import Library, add_cuts, read_library
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
    assert len(found.symmetries) == 6
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
    assert np.nanmedian(np.array(values)[~silicon]) == pytest.approx(1, abs=0.03)
    turn = np.exp(2j * np.pi / 3)
    z = np.array([1.6 * np.exp(0.3j), 1.6 * np.exp(0.3j) * turn])
    si = atoms.loc[silicon, ["x", "y"]].to_numpy() @ [1, 1j]
    one, other = sample_image(mean, np.stack([(z + si).imag, (z + si).real], axis=1))
    assert one == pytest.approx(other, abs=0.02)


def test_rings_decide_between_turns_that_look_alike(library):
    # Turned by 60 degrees, the atoms of 555-777 nearly come to lie over each other.
    found = average_defects(library, "555-777")
    assert len(found.symmetries) == 6
    assert np.median(found.atoms["spread"]) == pytest.approx(NOISE, rel=0.2)


def test_a_distortion_that_breaks_the_symmetry_is_in_chi(
    tmp_path, plant_defect, pull_silicon, source
):
    rng = np.random.default_rng(4)
    add_cuts(
        tmp_path, "a", source, plant_defect("Si1C3", 8, noise=NOISE, rng=rng, move=pull_silicon)
    )
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


def test_chi_does_not_shrink_with_few_defects(tmp_path, plant_defect, source):
    rng, squares = np.random.default_rng(11), []
    for number in range(4):
        name = str(number)
        cuts = plant_defect("V_C", 2, noise=NOISE, rng=rng)
        add_cuts(tmp_path / name, "a", source, cuts)
        found = average_defects(read_library(tmp_path / name), "V_C")
        squares.append((found.atoms["chi"] ** 2).mean())
    assert np.sqrt(np.mean(squares)) == pytest.approx(1, abs=0.08)


def test_images_are_scaled_by_their_own_lattice(tmp_path, plant_defect, source):
    rng = np.random.default_rng(6)
    for scale in (0.98, 1.02):
        cuts = plant_defect("Si1C3", 4, noise=0.01, rng=rng, scale=scale)
        add_cuts(tmp_path, f"at {scale}", source, cuts)
    found = average_defects(read_library(tmp_path), "Si1C3")
    assert np.median(found.atoms["chi"]) == pytest.approx(1, abs=0.3)
    far = np.hypot(found.atoms["x"], found.atoms["y"]).to_numpy() > 5
    outer = found.bonds[far[found.bonds[["one", "other"]]].all(axis=1)]
    assert outer["length"].mean() == pytest.approx(2.461 / 3**0.5, rel=0.002)


def test_other_graphs_and_materials_are_left_out(tmp_path, plant_defect, source):
    def dope(sheet):
        away = np.linalg.norm(sheet.positions - sheet.positions[sheet.numbers.argmax()], axis=1)
        sheet.numbers[np.argsort(away)[7]] = 14  # another silicon, not bonded to the first

    rng = np.random.default_rng(7)
    add_cuts(tmp_path, "a", source, plant_defect("Si1C3", 5, noise=0.01, rng=rng))
    add_cuts(tmp_path, "b", source, plant_defect("Si1C3", 2, noise=0.01, rng=rng, move=dope))
    other = source | {"modality": "BF"}
    add_cuts(tmp_path, "c", other, plant_defect("Si1C3", 2, noise=0.01, rng=rng))
    found = average_defects(read_library(tmp_path), "Si1C3")
    assert set(found.entries["part"]) == {"a"}
    assert found.n_left_out == len(read_library(tmp_path).entries.query("name == 'Si1C3'")) - 5


def test_weak_images_count_little_and_dark_atoms_are_minus_one(tmp_path, plant_defect, source):
    rng = np.random.default_rng(12)
    parts = list(plant_defect("Si1C3", 6, noise=0.01, rng=rng))
    weak = replace(parts[0], values=0.01 * parts[0].values + rng.normal(0, 1, (1, 133, 133)))
    for name, cuts in (("few", parts[1:]), ("all", [weak, *parts[1:]])):
        add_cuts(tmp_path / name, "a", source, cuts)
    few, whole = (average_defects(read_library(tmp_path / name), "Si1C3").image
                  for name in ("few", "all"))  # fmt: skip
    assert float(whole["spread"].median()) < 1.5 * float(few["spread"].median())
    dark = [replace(part, values=-part.values) for part in parts[1:]]
    add_cuts(tmp_path / "dark", "a", source, dark)
    found = average_defects(read_library(tmp_path / "dark"), "Si1C3").image
    np.testing.assert_allclose(found["mean"].min(), -few["mean"].max(), rtol=0.02)


def test_an_atom_by_itself_cannot_be_averaged(library):
    lone = library.entries.assign(name="C_i")
    table = pd.DataFrame({"atom": [0], "x": [0.0], "y": [0.0], "label": ["C"], "is_member": [True]})
    table = table.assign(is_shell=False, x_err=0.1, y_err=0.1)
    empty = pd.DataFrame({"one": [], "other": [], "length": []}, dtype=int)

    class Lonely(Library):
        def read_atoms(self, chosen):
            return [(table, empty)] * len(chosen)

    with pytest.raises(ConfigError, match="C_i has too few atoms around it"):
        average_defects(Lonely(library.folder, lone), "C_i")


def test_unknown_names_are_refused(library, tmp_path):
    with pytest.raises(ConfigError, match=r"holds Si1C3, 555-777 \(got 'Si9'\)"):
        average_defects(library, "Si9")
    cut = library.entries.assign(is_cut=True)
    with pytest.raises(ConfigError, match=r"all 24 Si1C3 .* are cut"):
        average_defects(type(library)(library.folder, cut), "Si1C3")
