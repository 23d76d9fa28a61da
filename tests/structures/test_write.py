import ase.io
import numpy as np

from adatom.core.materials import get_material
from adatom.core.tables import make_atoms
from adatom.structures.write import write_structure


def make_table(labels=("M", "X2", "X1", "dopant"), frame=0):
    n = len(labels)
    columns = {name: np.arange(n) / 7 for name in ("x", "y", "score", "intensity", "score_none")}
    columns |= {name: np.full(n, 0.01) for name in ("x_err", "y_err", "intensity_err")}
    columns |= {f"score_{label}": np.zeros(n) for label in set(labels)}
    return make_atoms(
        columns | {"label": np.array(labels, dtype=object)}, sorted(set(labels)), frame=frame
    )


def test_structure_has_two_chalcogens_per_x2(tmp_path):
    write_structure([make_table()], tmp_path / "a.extxyz", get_material("MoS2"))
    structure = ase.io.read(tmp_path / "a.extxyz")
    assert structure.get_chemical_symbols() == ["Mo", "S", "S", "S", "X"]
    np.testing.assert_allclose(structure.positions[:, 2], [0, 1.565, -1.565, 1.565, 0])
    np.testing.assert_allclose(structure.positions[:, 0], np.array([0, 1, 1, 2, 3]) / 7, atol=1e-6)
    assert list(structure.arrays["atom"]) == [0, 1, 1, 2, 3]


def test_atoms_carry_the_defect_they_belong_to(tmp_path):
    table = make_table().assign(defect=["-", "-", "V_S", "dopant_Mo"])
    write_structure([table], tmp_path / "a.extxyz", get_material("MoS2"))
    structure = ase.io.read(tmp_path / "a.extxyz")
    assert list(structure.arrays["defect"]) == ["-", "-", "-", "V_S", "dopant_Mo"]


def test_parts_of_a_frame_are_one_structure(tmp_path):
    whole = make_table(frame=3)
    parts = [whole.iloc[:2], whole.iloc[2:2], whole.iloc[2:], make_table(("X2",), frame=5)]
    write_structure(parts, tmp_path / "a.extxyz", get_material("MoS2"))
    first, second = ase.io.read(tmp_path / "a.extxyz", index=":")
    assert first.get_chemical_symbols() == ["Mo", "S", "S", "S", "X"]
    assert list(first.arrays["label"]) == ["M", "X2", "X2", "X1", "dopant"]
    assert [frame.info["frame"] for frame in (first, second)] == [3, 5]
    assert len(second) == 2


def test_nothing_is_written_for_nothing(tmp_path):
    write_structure([make_table().iloc[:0]], tmp_path / "a.extxyz", get_material("MoS2"))
    assert not list(tmp_path.iterdir())


def test_labels_that_name_their_atoms_are_the_same_structure(tmp_path):
    for name, labels in (("a", ("M", "X2", "X1")), ("b", ("Mo", "S2", "S1"))):
        write_structure([make_table(labels)], tmp_path / f"{name}.extxyz", get_material("MoS2"))
    first, second = (ase.io.read(tmp_path / f"{name}.extxyz") for name in "ab")
    assert second.get_chemical_symbols() == first.get_chemical_symbols() == ["Mo", "S", "S", "S"]
    np.testing.assert_array_equal(second.positions, first.positions)
