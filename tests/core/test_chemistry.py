"""Rules of chemistry: what can be bonded, and how the rules are read."""

import pytest

from adatom.core.chemistry import Chemistry, make_chemistry, read_chemistry
from adatom.core.errors import ConfigError
from adatom.core.materials import MATERIALS, get_material


@pytest.mark.parametrize("name", MATERIALS)
def test_bonds_reach_the_first_neighbors_and_not_the_second(name):
    material = get_material(name)
    chemistry = make_chemistry(material)
    for one in chemistry.hosts:
        for other in chemistry.hosts:
            limit = chemistry.bond_limit(one, other)
            assert limit == chemistry.bond_limit(other, one)
            assert 1.15 * material.neighbor_distance < limit < 0.95 * material.lattice


def test_a_file_replaces_what_it_names_and_leaves_the_rest(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('[bonds]\n"Si-C" = 2.3\n"Ge-C" = 2.4\n[neighbors]\nGe = 4\n')
    chemistry = read_chemistry(path, get_material("graphene"))
    assert chemistry.bond_limit("C", "Si") == 2.3
    assert chemistry.bond_limit("C", "Ge") == 2.4
    assert chemistry.bond_limit("C", "C") == 1.75
    assert chemistry.neighbors["Ge"] == 4
    assert chemistry.neighbors["C"] == 3
    assert chemistry.bond_limit("Ge", "Ge") == 0
    assert chemistry.bond_limit("Xe", "C") == chemistry.bond_limit("C", "C")  # not in the rules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[bonds]\n"C" = 1.7\n', "must be two labels"),
        ('[bonds]\n"C-C" = -1\n', "must be above 0 Å"),
        ("[neighbors]\nXe = 2\n", "neighbors: must have a bond"),
        ("[neighbors]\nC = 0\n", "must be 1 or more"),
        ("bond = 3\n", "bond: extra inputs"),
        ('[bonds]\n"C-Si" = 2\n"Si-C" = 3\n', "must hold a pair once"),
        ("hosts = []\n", "hosts"),
    ],
)
def test_wrong_rules_are_named(tmp_path, text, said):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_chemistry(path, get_material("graphene"))
    assert "rules.toml" in str(caught.value)


def test_without_a_material_all_rules_must_be_given(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('hosts = ["A"]\nuse_formulas = false\n[bonds]\n"A-A" = 3\n[neighbors]\nA = 4\n')
    assert read_chemistry(path, None) == Chemistry(
        hosts=("A",), use_formulas=False, bonds={"A-A": 3.0}, neighbors={"A": 4}
    )
    path.write_text("")
    with pytest.raises(ConfigError, match="where no material is given"):
        read_chemistry(path, None)
