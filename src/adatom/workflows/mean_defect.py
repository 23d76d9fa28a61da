"""From a library to the mean of one kind of defect, in a run folder."""

import math
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adatom.core.errors import FileError
from adatom.core.materials import Material, get_material
from adatom.core.runs import SUFFIX, RunRecord, check_run_place, open_run, write_record

if TYPE_CHECKING:
    from adatom.analyze.average import MeanDefect
    from adatom.report.brief import Brief

BOND_NAMES = {
    "length": "length (Å)",
    "length_err": "error (Å)",
    "spread": "spread (Å)",
    "ideal": "ideal (Å)",
    "strain": "strain (%)",
    "strain_err": "error (%)",
}


@dataclass(frozen=True)
class ShowResult:
    """The mean of one kind of defect, and where it lies.

    Attributes
    ----------
    folder : Path
        The run folder.
    mean : MeanDefect
        With strain, if it could be compared with something.
    warnings : tuple of str
        What the user should know before trusting it.
    """

    folder: Path
    mean: "MeanDefect"
    warnings: tuple[str, ...]


def show_defect(
    library: str | Path, name: str, out: str | Path = ".", *, ideal: str | Path | None = None
) -> ShowResult:
    """Average the defects of one name, and leave a run folder.

    Parameters
    ----------
    library : str or Path
        A library of `adatom library add`.
    name : str
        As `adatom library list` gives it.
    out : str or Path
        Folder for the run folder `NAME.adatom`: tables `entries`, `atoms` and `bonds`, the mean
        structure, mean image and spread as zarr, a figure, and `run.json`.
    ideal : str or Path, optional
        A structure file with the defect: what strain is measured against. Else bonds of the
        material are compared with those of its lattice.

    Returns
    -------
    ShowResult
        Folder and mean.

    Raises
    ------
    FileError
        If a file cannot be read or written.
    ConfigError
        If the library has no such defect that is whole, or the structure has none.
    """
    from adatom.analyze.average import average_defects
    from adatom.analyze.ideal import strain_from_lattice, strain_from_structure
    from adatom.analyze.library import read_library
    from adatom.plots.library import draw_mean_defect
    from adatom.plots.style import write_figure
    from adatom.report.brief import write_brief
    from adatom.workflows.vibrations import read_structure

    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), time.perf_counter()
    place = Path(out) / f"{name.replace(' ', '_')}{SUFFIX}"
    check_run_place(place)
    structure = None if ideal is None else read_structure(Path(ideal))
    mean = average_defects(read_library(library), name)
    materials = mean.entries["material"].dropna().unique()
    material = get_material(materials[0]) if len(materials) == 1 else None
    if material is not None and structure is not None:
        mean = strain_from_structure(mean, structure, material)
    elif material is not None:
        mean = strain_from_lattice(mean, material)
    elif structure is not None:
        raise FileError(f"{library}: {name} is of no one known material to compare it with {ideal}")
    notes = _find_doubts(mean)
    with open_run(place) as folder:
        _write_mean(mean, material, folder)
        write_figure(draw_mean_defect(mean), folder / "figures" / "mean.png")
        record = RunRecord(
            task="library",
            started=started,
            input={
                "name": Path(library).name,
                "path": str(Path(library).absolute()),
                "parts": sorted(mean.entries["part"].unique()),
            },
            config={"name": name, "ideal": ideal},
            seed=None,
            device="cpu",
            model={},
            image={},
            calibration={},
            summary=summarize_mean(mean),
            warnings=notes,
            timings={"all": time.perf_counter() - clock},
        )
        write_record(record, folder)
        write_brief(folder, _make_brief(mean, Path(library).name))
    return ShowResult(place, mean, notes)


def _make_brief(mean: "MeanDefect", library: str) -> "Brief":
    """What the page says."""
    import pandas as pd

    from adatom.report.brief import Brief, BriefTable

    found = summarize_mean(mean)
    bonds = pd.DataFrame(found["bonds"]).drop(columns="n", errors="ignore").round(4)
    if "strain" in bonds:
        bonds[["strain", "strain_err"]] *= 100
    if len(bonds):
        bonds = bonds.value_counts(dropna=False, sort=False).rename("alike").reset_index()
        bonds = bonds[["bond", "alike", *bonds.columns[1:-1]]]
    said = format_mean(mean).splitlines()[: 2 if found["n"] > 1 else 1]
    result = "; ".join(said).removeprefix(f"{mean.name}: ")
    sources = mean.entries.groupby(["image", "model"], as_index=False).agg(
        averaged=("entry", "size"), frames=("frame", "nunique"), score=("score", "mean")
    )
    return Brief(
        kind=f"Mean defect of {library}",
        title=mean.name,
        result=f"{result[:1].upper()}{result[1:]}.",
        figures=(("mean", "Mean image, spread of the images, and mean structure"),),
        tables=(
            BriefTable(
                "Bonds of its own atoms",
                bonds.rename(columns=BOND_NAMES),
                "Projected lengths. Bonds that a symmetry makes alike are in one row; the mean is "
                f"averaged over {found['n_symmetries']} ways to lay it over itself.",
            ),
            BriefTable("Images", sources.rename(columns={"score": "mean score"})),
        ),
        files="atoms, bonds and entries (.csv and .parquet), structure.extxyz, mean.zarr",
    )


def _find_doubts(mean: "MeanDefect") -> tuple[str, ...]:
    """What the user should know before trusting a mean."""
    n_helped = int(mean.entries["use_lattice"].astype(bool).sum())
    if not n_helped:
        return ()
    return (
        f"neighbors helped to place the atoms of {n_helped} of {len(mean.entries)} defects, which "
        "makes displacements too small at low dose: analyze their images with --no-use-lattice",
    )


def summarize_mean(mean: "MeanDefect") -> dict[str, Any]:
    """Figures of a mean defect, for `run.json` and people.

    Parameters
    ----------
    mean : MeanDefect
        What `average_defects` gives.

    Returns
    -------
    dict
        How many were averaged, of how many images, and the bonds of its own atoms, Å.
    """
    # An empty site has no atoms of its own: those around it stand for it.
    own = mean.atoms["is_member" if mean.atoms["is_member"].any() else "is_shell"].to_numpy()
    bonds = mean.bonds[own[mean.bonds[["one", "other"]].to_numpy()].any(axis=1)]
    labels = mean.atoms["label"].to_numpy(str)
    told = []
    for row in bonds.to_dict("records"):
        kinds = "-".join(sorted((labels[row["one"]], labels[row["other"]])))
        told.append({"bond": kinds} | {key: row[key] for key in row if key not in ("one", "other")})
    return {
        "name": mean.name,
        "n": len(mean.entries),
        "n_left_out": mean.n_left_out,
        "n_images": mean.entries["part"].nunique(),
        "n_symmetries": len(mean.symmetries),
        "spread": float((mean.atoms["spread"] ** 2).mean() ** 0.5),
        "chi": float((mean.atoms["chi"] ** 2).mean() ** 0.5),
        "bonds": sorted(told, key=lambda row: (row["bond"], row["length"])),
    }


def format_mean(mean: "MeanDefect") -> str:
    """Show a mean defect to people.

    Parameters
    ----------
    mean : MeanDefect
        What `average_defects` gives.

    Returns
    -------
    str
        What was averaged, spread, and the bonds of its own atoms.
    """
    found = summarize_mean(mean)
    images = "1 image" if found["n_images"] == 1 else f"{found['n_images']} images"
    lines = [f"{found['name']}: mean of {found['n']} in {images} ({found['n_left_out']} left out)"]
    if found["n"] > 1:
        chi = found["chi"]
        explained = f" ({chi:.2f} times what errors explain)" if math.isfinite(chi) else ""
        lines += [f"atoms differ by {found['spread']:.3f} Å per axis{explained}"]
    told = []
    for row in found["bonds"]:
        error = f" ± {row['length_err']:.3f}" if math.isfinite(row["length_err"]) else ""
        text = f"{row['bond']:<8}{row['length']:.3f}{error} Å"
        if math.isfinite(row["spread"]):
            text += f", spread {row['spread']:.3f}"
        if math.isfinite(row.get("strain", math.nan)):
            text += f", strain {100 * row['strain']:+.1f} %"
        told.append(text)
    lines += [f"{count:>3} × {text}" for text, count in Counter(told).items()]
    return "\n".join(lines)


def _write_mean(mean: "MeanDefect", material: Material | None, folder: Path) -> None:
    """Tables, mean image and mean structure."""
    import numpy as np

    from adatom.core.table_files import TableWriter
    from adatom.structures.write import write_structure

    lengths = ("x", "y", "x_err", "y_err", "dx", "dy", "spread", "length", "length_err", "ideal")
    units = dict.fromkeys(lengths, "angstrom")
    tables = {"entries": mean.entries, "atoms": mean.atoms, "bonds": mean.bonds}
    for name, table in tables.items():
        with TableWriter(folder, name, units=units) as writer:
            writer.append(table)
    mean.image.to_zarr(folder / "mean.zarr", consolidated=False)
    if material is not None:
        own = np.where(mean.atoms["is_member"], mean.name.replace(" ", "_"), "-")
        marked = mean.atoms.assign(frame=0, atom=np.arange(len(own)), score=1.0, defect=own)
        write_structure([marked], folder / "structure.extxyz", material)
