"""Pictures of defects and strain."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.collections import EllipseCollection, PolyCollection
from matplotlib.figure import Figure

from adatom.analyze.defects import find_defects
from adatom.core.chemistry import make_chemistry
from adatom.core.materials import get_material
from adatom.plots.defects import draw_defects, draw_strain

MOS2 = get_material("MoS2")


def test_every_defect_has_a_circle_and_every_name_a_line(sheet):
    image, atoms = sheet
    middle = np.hypot(atoms["x"] - 14, atoms["y"] - 14)
    gone = middle[atoms["label"] == "M"].idxmin()
    atoms = atoms.drop(index=gone).assign(atom=np.arange(len(atoms) - 1))
    found = find_defects(atoms, make_chemistry(MOS2), material=MOS2)
    ax = draw_defects(image, found)
    circles = [each for each in ax.collections if isinstance(each, EllipseCollection)]
    expected = 0
    for own, middle in zip(found.own, found.table[["y", "x"]].to_numpy(), strict=True):
        is_far = (np.hypot(*(found.graph.places[own] - middle).T) > 5).any()
        expected += len(own) if is_far else 1
    assert expected > len(found.table)  # a chain of vacancies gets a circle around each column
    assert sum(len(each.get_offsets()) for each in circles) == expected
    rings = [each for each in ax.collections if isinstance(each, PolyCollection)]
    assert [len(each.get_paths()) for each in rings] == [1]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts[0] == "ring of 12 (1)"
    counts = found.table["name"].value_counts()
    assert texts[1:] == [f"{name} ({count})" for name, count in counts.items()]


def test_rare_names_share_a_line(sheet):
    image, atoms = sheet
    found = find_defects(atoms, make_chemistry(MOS2), material=MOS2)
    row = found.table.iloc[0]
    many = pd.DataFrame([row.to_dict() | {"name": f"class {n}"} for n in range(14)])
    ax = draw_defects(image, replace(found, table=many, own=found.own[:1] * 14))
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(texts) == 10
    assert texts[-1] == "5 more names (5)"


def test_a_sheet_without_defects_has_no_legend(sheet):
    image, atoms = sheet
    whole = atoms.assign(label=atoms["label"].replace("X1", "X2"))
    found = find_defects(whole, make_chemistry(MOS2), material=MOS2)
    ax = Figure().add_subplot()
    assert draw_defects(image, found, ax=ax) is ax
    assert ax.get_legend() is None


def test_strain_is_drawn_in_percent_and_turns_in_degrees(sheet):
    image, atoms = sheet
    sites = atoms[["x", "y"]].assign(strain_xx=0.01, rotation=2.0)
    sites.loc[0, "strain_xx"] = np.nan
    for column, value, unit in (("strain_xx", 1.0, "%"), ("rotation", 2.0, "degrees")):
        ax = draw_strain(image, sites, column)
        points = ax.collections[0]
        np.testing.assert_allclose(points.get_array(), value)
        assert points.get_clim() == (-value, value)
        assert unit in ax.figure.axes[-1].get_ylabel()
