import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adatom.core.errors import ConfigError, FileError
from adatom.optics.aberration_table import (
    AberrationTable,
    draw_aberrations,
    name_parts,
    read_aberrations,
    write_aberrations,
)
from adatom.optics.ceos import TERMS, find_symmetry

PRINTED = """# Tableau of 18 mrad
C1: -3.5nm
A1: 1.5 nm / 30° ± 0.2 nm
B2 = 120.0 nm, -45.0deg (+/- 9 nm)
C3   -0.4 um (± 30 nm)
d5: 2e-1 mm / 20.5°
"""


def test_a_printed_table_is_read_in_angstrom_and_conjugate_form(tmp_path):
    path = tmp_path / "tableau.txt"
    path.write_text(PRINTED)
    table = read_aberrations(path)
    assert list(table.values) == ["C1", "A1", "B2", "C3", "R5"]
    assert table.values["C1"] == -35
    assert table.values["A1"] == pytest.approx(15 * np.exp(2j * np.pi / 6))
    assert table.values["B2"] == pytest.approx(1200 * np.exp(-1j * np.pi / 4))
    assert table.values["C3"] == pytest.approx(-4000)
    assert table.values["R5"] == pytest.approx(2e6 * np.exp(4j * np.deg2rad(20.5)))
    assert table.errors == pytest.approx({"A1": 2, "B2": 90, "C3": 300})


def test_angles_may_be_arguments_of_the_other_form(tmp_path):
    path = tmp_path / "tableau.csv"
    path.write_text("Name; Value; Unit; Azimuth\nB2; 120; nm; 135\nA2; 30; nm; 135\nC1; -2; nm;\n")
    table = read_aberrations(path, azimuth="argument", form="plain")
    assert np.rad2deg(np.angle(table.values["B2"])) == pytest.approx(-135)
    assert np.rad2deg(np.angle(table.values["A2"])) == pytest.approx(135)
    with pytest.raises(FileError, match=r"line 3: azimuth of A2: must lie within ±60°.*135"):
        read_aberrations(path)


def _tables() -> st.SearchStrategy[AberrationTable]:
    number = st.floats(-1e8, 1e8).filter(lambda value: abs(value) > 1e-3)

    @st.composite
    def draw(pick) -> AberrationTable:
        names = pick(st.lists(st.sampled_from(list(TERMS)), min_size=1, unique=True))
        values = {
            name: complex(pick(number), pick(number) if find_symmetry(name) else 0)
            for name in names
        }
        errors = {name: abs(pick(number)) for name in names if pick(st.booleans())}
        n = len(name_parts(names))
        covariance = np.diag(np.arange(n) + 0.1) if pick(st.booleans()) else None
        return AberrationTable(values, errors, covariance)

    return draw()


@given(
    _tables(),
    st.sampled_from([".toml", ".csv", ".txt"]),
    st.sampled_from(["spatial", "argument"]),
    st.sampled_from(["conjugate", "plain"]),
)
def test_what_is_written_is_read_again(tmp_path_factory, table, suffix, azimuth, form):
    path = tmp_path_factory.getbasetemp() / f"table{suffix}"
    write_aberrations(table, path, azimuth=azimuth, form=form)
    again = read_aberrations(path, azimuth=azimuth, form=form)
    assert list(again.values) == list(table.values)
    for name, value in table.values.items():
        assert again.values[name] == pytest.approx(value, rel=1e-12)
    assert again.errors == pytest.approx(dict(table.errors))
    if suffix == ".toml" and table.covariance is not None:
        np.testing.assert_array_equal(again.covariance, table.covariance)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "A1: 1.5 nm\n", "line 1: azimuth of A1: must be there"),
        ("a.txt", "C1: 1.5 kg\n", "line 1: value of C1: unit must be pm, nm, .*'kg'"),
        ("a.txt", "\nQ7: 1.5 nm\n", "line 2: coefficient: must be one of C1, .*'Q7'"),
        ("a.txt", "C1: 1 nm\nC1: 2 nm\n", "line 2: each coefficient must be there once .got C1"),
        ("a.txt", "C1 is good\n", "line 1: must be as `A1.*'C1 is good'"),
        ("a.txt", "# nothing\n", "must hold at least one coefficient"),
        ("a.csv", "name,value\nC1,1\n", "columns must be name, value, unit .*got name, value"),
        ("a.csv", "name,value,unit\nC1,one,nm\n", "line 2: value of C1: must be a number .*'one'"),
        ("a.csv", "name,value,unit\nC1,1,nm,8\n", "line 2: must fill name, value and unit"),
        ("a.csv", "name,value,unit,error\nC1,1,nm,-8\n", "line 2: error of C1: must not be below"),
        ("a.toml", "[aberrations]\nA1 = 3\n", r"must hold \[aberrations\]"),
        ("a.toml", "[aberrations]\nQ1 = {x = 3}\n", "coefficient: must be one of"),
        ("a.toml", "[aberrations]\nA1 = {x = 3}\n", "A1: must have x and y, .*got x"),
        ("a.toml", "[aberrations]\nC1 = {x = 3, eror = 1}\n", "C1: must have x, .*got x, eror"),
        ("a.toml", "[aberrations]\nC1 = {x = nan}\n", "values: must be finite .got C1 = nan"),
        (
            "a.toml",
            "covariance = [[-1]]\n[aberrations]\nC1 = {x = 3}\n",
            "covariance: must be finite, with variances of at least 0",
        ),
        (
            "a.toml",
            "covariance = [[1, 2]]\n[aberrations]\nC1 = {x = 3}\n",
            "covariance: must have 1 rows",
        ),
    ],
)
def test_errors_name_file_rule_and_value(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(FileError, match=f"{name}: {message}"):
        read_aberrations(path)


def test_files_that_cannot_be_read_or_written(tmp_path):
    with pytest.raises(FileError, match=r"no\.txt: cannot be read"):
        read_aberrations(tmp_path / "no.txt")
    with pytest.raises(FileError, match=r"must end in .toml, .csv, .txt \(got '.dat'\)"):
        write_aberrations(AberrationTable({"C1": 1}), tmp_path / "a.dat")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(FileError, match="must be text in UTF-8"):
        read_aberrations(tmp_path / "bytes.txt")
    with pytest.raises(ConfigError, match=r"errors: must be numbers .* C3"):
        AberrationTable({"C1": 1}, {"C3": 1})


def test_draws_have_the_errors_of_the_table():
    table = AberrationTable({"C1": -30 + 0j, "A1": 20 + 10j}, {"C1": 4.0, "A1": 2.0})
    drawn = draw_aberrations(table, 4000, 0)
    c1, a1 = (np.array([values[name] for values in drawn]) for name in ("C1", "A1"))
    assert c1.mean() == pytest.approx(-30, abs=0.3)
    assert c1.real.std() == pytest.approx(4, rel=0.05)
    assert np.all(c1.imag == 0)
    assert [a1.real.std(), a1.imag.std()] == pytest.approx([2, 2], rel=0.05)
    covariance = np.array([[16.0, 7.9, 0], [7.9, 4.0, 0], [0, 0, 1.0]])
    together = AberrationTable(table.values, {}, covariance)
    c1, a1 = np.array([[v["C1"], v["A1"]] for v in draw_aberrations(together, 4000, 0)]).T
    assert np.corrcoef(c1.real, a1.real)[0, 1] == pytest.approx(7.9 / 8, abs=0.01)
    assert draw_aberrations(AberrationTable(table.values), 3, 0) == []
