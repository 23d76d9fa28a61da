"""Defects that were planted, and their names."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adatom.analyze.defects import find_defects
from adatom.core.chemistry import Chemistry, make_chemistry
from adatom.core.errors import ImageError
from adatom.core.materials import get_material
from adatom.structures.graphene import relax_bonds
from adatom.structures.sheets import make_sheet
from adatom.structures.topological import insert_defect

GRAPHENE, MOS2 = get_material("graphene"), get_material("MoS2")


def name(table, material, area=None):
    found = find_defects(table, make_chemistry(material), material=material, area=area)
    return found, sorted(found.table["name"])


def inner(places, *, near=(0.0, 0.0)):
    return np.argsort(np.hypot(*(places - near).T))


def test_a_perfect_sheet_has_no_defects(make_honeycomb, tabulate):
    for material, labels in ((GRAPHENE, ("C", "C")), (MOS2, ("M", "X2"))):
        places, kinds = make_honeycomb(50, material.lattice, labels=labels, noise=0.06)
        found, names = name(tabulate(places, kinds), material)
        assert names == []
        assert list(found.table.columns[:5]) == ["frame", "defect", "kind", "name", "x"]
        assert found.members.empty


def dope(which):
    """A sheet with silicon on the atoms that `which` chooses among those nearest to the middle."""
    sheet = make_sheet(GRAPHENE, (46, 46), angle=9)
    middle = sheet.positions[:, :2] - 23
    order = inner(middle)
    near = np.hypot(*(middle - middle[order[0]]).T)
    shell = np.flatnonzero((near > 1) & (near < 1.6))
    silicon, gone = which(order[0], shell)
    sheet.numbers[silicon] = 14
    if gone and len(silicon) == 1:
        sheet.positions[silicon[0]] = sheet.positions[[*silicon, *gone]].mean(axis=0)
    kept = np.setdiff1d(np.arange(len(sheet)), gone)
    relaxed = relax_bonds(sheet[kept])
    places = relaxed.positions[:, [1, 0]]
    return places, np.array(relaxed.get_chemical_symbols())


@pytest.mark.parametrize(
    ("expected", "which"),
    [
        ("Si1C3", lambda one, shell: ([one], [])),
        ("Si1C4", lambda one, shell: ([one], [shell[0]])),
        ("Si2C4", lambda one, shell: ([one, shell[0]], [])),
        ("Si3C5", lambda one, shell: ([one, *shell[:2]], [])),
        ("Si4C6", lambda one, shell: ([one, *shell], [])),
    ],
)
def test_silicon_is_named_by_its_formula(expected, which, tabulate):
    places, labels = dope(which)
    found, names = name(tabulate(places, labels), GRAPHENE)
    assert names == [expected]
    (row,) = found.table.itertuples()
    assert row.kind == "dopant"
    assert not row.is_cut
    n_silicon = int(expected[2])
    members = found.members[~found.members["is_shell"]]
    assert set(labels[members["atom"]]) == {"Si"}
    assert len(members) == row.n_atoms == n_silicon
    assert len(found.members) == n_silicon + int(expected[-1])
    assert row.score == pytest.approx(0.9**n_silicon * 0.95 ** int(expected[-1]))
    assert row.bond == pytest.approx(1.75, abs=0.2)


def test_silicon_with_three_equal_bonds_is_not_distorted_and_pulled_aside_it_is(tabulate):
    places, labels = dope(lambda one, shell: ([one], []))
    found, _ = name(tabulate(places, labels), GRAPHENE)
    assert found.table["angle_spread"].item() < 3
    assert not found.table["is_distorted"].item()
    places[labels == "Si"] += (0.0, 0.35)
    found, names = name(tabulate(places, labels), GRAPHENE)
    assert names == ["Si1C3"]
    assert found.table["is_distorted"].item()


def test_errors_of_bonds_and_angles_are_those_of_many_draws(tabulate):
    places, labels = dope(lambda one, shell: ([one], []))
    silicon = np.flatnonzero(labels == "Si")[0]
    near = np.argsort(np.hypot(*(places - places[silicon]).T))[:12]
    places[silicon] += (0.1, 0.2)  # no two angles alike: whichever is the largest stays it
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(300):
        moved = places.copy()
        moved[near] += rng.normal(0, 0.02, (12, 2))
        table = tabulate(moved, labels, x_err=0.02, y_err=0.02)
        drawn.append(name(table[np.hypot(*(moved - 23).T) < 9], GRAPHENE)[0].table.iloc[0])
    drawn = pd.DataFrame(drawn)
    for column in ("bond", "angle_spread"):
        assert drawn[column].std() == pytest.approx(drawn[f"{column}_err"].mean(), rel=0.12)


def test_vacancies_of_graphene(make_honeycomb, tabulate):
    places, labels = make_honeycomb(60)
    order = inner(places)
    one = order[0]
    beside = order[1]
    far = inner(places, near=(15.0, 12.0))[0]
    kept = np.setdiff1d(np.arange(len(places)), [one, beside, far])
    found, names = name(tabulate(places[kept], labels[kept]), GRAPHENE)
    assert names == ["2V_C", "V_C"]
    row = found.table.set_index("name").loc["V_C"]
    np.testing.assert_allclose([row["y"], row["x"]], places[far], atol=0.2)
    assert row["n_atoms"] == 0  # what is around a vacancy is not its own
    shell = found.members[found.members["defect"] == row["defect"]]
    assert len(shell) == 3
    assert row["score"] == pytest.approx(0.95**3)


def test_columns_of_mos2(make_honeycomb, tabulate):
    places, labels = make_honeycomb(70, 3.16, labels=("M", "X2"), noise=0.05)
    labels = labels.astype("U8")

    def at(y, x, label):
        mine = np.flatnonzero(labels == label)
        return mine[inner(places[mine], near=(y, x))[0]]

    changed = {
        at(0, 0, "X2"): "X1",
        at(-20, 0, "M"): "dopant",
        at(20, 0, "X2"): "dopant",
        at(0, 20, "X2"): "M",
        at(0, -20, "M"): "X2",
    }
    gone = [at(-20, 20, "X2"), at(-20, -20, "M")]
    for atom, label in changed.items():
        labels[atom] = label
    kept = np.setdiff1d(np.arange(len(places)), gone)
    found, names = name(tabulate(places[kept], labels[kept]), MOS2)
    assert names == sorted(["V_S", "dopant_Mo", "dopant_S2", "Mo_S2", "S2_Mo", "V_S2", "V_Mo"])
    assert dict(found.table.groupby("kind").size()) == {"vacancy": 3, "dopant": 2, "antisite": 2}


def test_vacancies_and_antisites_beside_a_dopant_are_seen(make_honeycomb, tabulate):
    places, labels = make_honeycomb(60, 3.16, labels=("M", "X2"))
    metal = np.flatnonzero(labels == "M")[inner(places[labels == "M"])[0]]
    other = np.flatnonzero(labels == "X2")
    beside = other[inner(places[other], near=places[metal])[0]]
    for label, expected in (("X1", "V_S"), ("M", "Mo_S2"), (None, "V_S2")):
        seen = labels.astype("U8")
        seen[metal] = "dopant"
        seen[beside] = label or "X2"
        kept = np.delete(np.arange(len(places)), [] if label else [beside])
        assert name(tabulate(places[kept], seen[kept]), MOS2)[1] == sorted(["dopant_Mo", expected])


def test_rules_and_atoms_may_have_elements_or_roles(make_honeycomb, tabulate):
    """Mo, S2 and S1 of the models of focal series."""
    places, labels = make_honeycomb(50, 3.16, labels=("Mo", "S2"))
    labels[np.flatnonzero(labels == "S2")[inner(places[labels == "S2"])[0]]] = "S1"
    rules = Chemistry(
        hosts=("Mo", "S2", "S1"),
        bonds={"Mo-S2": 2.46, "S1-Mo": 2.46},
        neighbors={"Mo": 3},
        use_formulas=False,
    )
    for chemistry in (rules, make_chemistry(MOS2)):
        found = find_defects(tabulate(places, labels), chemistry, material=MOS2)
        assert list(found.table["name"]) == ["V_S"]


def test_labels_without_rules_are_bonded_as_hosts(make_honeycomb, tabulate):
    places, labels = make_honeycomb(40)
    labels = labels.astype("U8")
    labels[inner(places)[0]] = "Ge"
    assert name(tabulate(places, labels), GRAPHENE)[1] == ["Ge1C3"]


def test_an_extra_sulfur_between_the_sites_is_no_vacancy(make_honeycomb, tabulate):
    places, labels = make_honeycomb(50, 3.16, angle=0.0, labels=("M", "X2"))
    sulfur = np.flatnonzero(labels == "X2")[inner(places[labels == "X2"])[0]]
    metals = places[labels == "M"]
    three = metals[inner(metals, near=places[sulfur])[:3]]
    hollow = places[sulfur] - 2 * (three[0] - places[sulfur])
    whole = np.concatenate([places, [hollow]])
    assert "V_S" not in name(tabulate(whole, np.append(labels, "X1")), MOS2)[1]


def test_coordinates_may_go_down(make_honeycomb, tabulate):
    places, labels = make_honeycomb(40)
    kept = np.delete(np.arange(len(places)), inner(places)[:1])
    table = tabulate(places[kept], labels[kept])
    area = np.array([[20.0, -20.0], [-20.0, 20.0]])
    assert name(table, GRAPHENE, area)[1] == ["V_C"]


def test_vacancies_side_by_side_are_one_and_three_in_a_row_a_line(make_honeycomb, tabulate):
    places, labels = make_honeycomb(70, 3.16, angle=0.0, labels=("M", "X2"))
    mine = np.flatnonzero(labels == "X2")
    start = places[mine[inner(places[mine])[0]]]
    for n, expected in ((2, "2V_S"), (3, "V_S line"), (5, "V_S line")):
        seen = labels.astype("U8")
        for k in range(n):
            seen[mine[inner(places[mine], near=start + np.array([0, 3.16 * k]))[0]]] = "X1"
        assert name(tabulate(places, seen), MOS2)[1] == [expected]
    seen = labels.astype("U8")
    metal = np.flatnonzero(labels == "M")[inner(places[labels == "M"])[0]]
    around = mine[inner(places[mine], near=places[metal])[:3]]
    seen[around] = "X1"
    kept = np.setdiff1d(np.arange(len(places)), [metal])
    assert name(tabulate(places[kept], seen[kept]), MOS2)[1] == ["V_MoS3"]


def test_what_has_no_name_gets_a_number_by_how_common_it_is(make_honeycomb, tabulate):
    """Rings of 4 and 8 that no table holds, twice, and one of another kind once."""
    places, labels = make_honeycomb(70, angle=0.0)
    extra = []
    for y, x in ((-15, -15), (15, 15)):
        ring = inner(places, near=places[inner(places, near=(y, x))[0]])[:2]
        # An atom on the middle of a bond: rings of seven on both sides.
        extra.append(places[ring].mean(axis=0))
        places[ring] += 0.75 * (places[ring] - extra[-1])
    whole = np.concatenate([places, extra])
    found, names = name(tabulate(whole, np.append(labels, ["C", "C"])), GRAPHENE)
    assert names == ["class 1", "class 1"]
    assert set(found.table["rings"]) == {"7-7"}
    assert found.table["hash"].nunique() == 1


def test_the_two_sides_of_a_boundary_are_one_defect(make_honeycomb, tabulate):
    left, right = (make_honeycomb(60, angle=angle)[0] for angle in (5.0, 27.0))
    places = np.concatenate([left[left[:, 1] < 0], right[right[:, 1] > 0.7]])
    found, _ = name(tabulate(places, np.full(len(places), "C")), GRAPHENE)
    assert (found.table["kind"] == "boundary").sum() >= 1
    at = found.table[found.table["kind"] == "boundary"]
    assert (at["x"].abs() < 4).all()


@settings(max_examples=15, deadline=None)
@given(angle=st.floats(0, 360), seed=st.integers(0, 1000))
def test_names_do_not_depend_on_turn_order_or_noise(angle, seed):
    places, labels = dope(lambda one, shell: ([one, shell[0]], []))
    rng = np.random.default_rng(seed)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    order = rng.permutation(len(places))
    moved = (places @ turn + rng.normal(0, 0.04, places.shape))[order]
    table = pd.DataFrame({"frame": 3, "atom": np.arange(len(moved)), "score": 1.0})
    table = table.assign(y=moved[:, 0], x=moved[:, 1], label=labels[order])
    near = np.hypot(*(moved - moved[labels[order] == "Si"].mean(axis=0)).T) < 17
    found, names = name(table[near], GRAPHENE)
    assert "Si2C4" in names
    assert (found.table["frame"] == 3).all()


def test_nothing_gives_empty_tables(tabulate):
    found, names = name(tabulate(np.empty((0, 2)), np.empty(0, str)), GRAPHENE)
    assert names == []
    assert found.members.empty
    with pytest.raises(ImageError, match="missing"):
        find_defects(pd.DataFrame({"x": [1.0]}), make_chemistry(GRAPHENE))


def test_tables_of_several_frames_or_without_places_are_refused(make_honeycomb, tabulate):
    places, labels = make_honeycomb(20)
    table, rules = tabulate(places, labels), make_chemistry(GRAPHENE)
    with pytest.raises(ImageError, match="must be that of one frame"):
        find_defects(pd.concat([table, table.assign(frame=1)]), rules)
    with pytest.raises(ImageError, match="must be finite"):
        find_defects(table.assign(x=np.nan), rules)
    with pytest.raises(ImageError, match="must differ"):
        find_defects(tabulate(np.repeat(places, 2, axis=0), np.repeat(labels, 2)), rules)


def test_alike_defects_have_one_hash_whatever_sites_seem_empty():
    # Atoms of a turned bond are so far off the lattice that noise decides which sites are empty.
    hashes, n_empty = set(), set()
    for seed in range(8):
        rng = np.random.default_rng(seed)
        sheet = make_sheet(GRAPHENE, (36, 36), angle=float(rng.uniform(0, 60)))
        sheet = insert_defect(sheet, "55-77", (18.0, 18.0), rng)
        places = sheet.positions[:, :2] + rng.normal(0, 0.03, (len(sheet), 2))
        table = pd.DataFrame({"frame": 0, "atom": np.arange(len(sheet)), "x": places[:, 0]})
        table = table.assign(y=places[:, 1], label="C", score=1.0)
        found = find_defects(
            table, make_chemistry(GRAPHENE), material=GRAPHENE, area=np.array([[0, 0], [36, 36]])
        )
        (row,) = found.table.to_dict("records")
        assert row["name"] == "55-77"
        hashes.add(row["hash"])
        n_empty.add((found.lattices.sites["atom"] < 0).sum())
    assert len(hashes) == 1
    assert len(n_empty) > 1
