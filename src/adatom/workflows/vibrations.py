"""From a structure file to how far its atoms vibrate, in a run folder."""

import time
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import FileError
from adatom.core.progress import Report, ignore_progress
from adatom.core.runs import (
    SUFFIX,
    RunRecord,
    check_run_place,
    find_checksum,
    library_versions,
    open_run,
    write_record,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from ase import Atoms

    from adatom.report.brief import Brief

COLUMNS = ("u2_in_plane", "u2_out_of_plane")
LARGEST_ERROR = 0.1  # of a mean square displacement; above, the run was too short
PROGRAMS = ("ase", "lammps", "chgnet")


class VibrationsConfig(Config):
    """At which temperature the atoms are followed, and for how long."""

    temperature: float = Field(gt=0, description="Temperature, K.")
    time: float = Field(
        200.0,
        ge=1,
        description="Time that is measured, ps; a fifth of it, at most 20 ps, goes before, twice.",
    )
    seed: int = Field(1, ge=0, description="Seed of velocities and kicks.")


@dataclass(frozen=True)
class VibrationsResult:
    """What a run found.

    Attributes
    ----------
    folder : Path
        The run folder.
    table : DataFrame
        One row per element and coordination, as of `measure_amplitudes`, Å².
    warnings : tuple of str
        What the user should know before trusting it.
    """

    folder: Path
    table: "pd.DataFrame"
    warnings: tuple[str, ...]


def find_vibrations(
    path: str | Path,
    out: str | Path,
    *,
    config: VibrationsConfig,
    report: Report = ignore_progress,
) -> VibrationsResult:
    """Follow the atoms of a structure, and measure their mean square displacements.

    Parameters
    ----------
    path : str or Path
        A structure file that ASE reads; a sheet must be normal to z, and periodic in the directions
        that the file says.
    out : str or Path
        Folder for the run folder NAME.adatom: amplitudes as CSV and Parquet, the relaxed structure
        as extended XYZ, and `run.json`.
    config : VibrationsConfig
        Temperature, time and seed.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    VibrationsResult
        Folder, table and warnings.

    Raises
    ------
    FileError
        If the file cannot be read, or the folder not written.
    ConfigError
        If no potential knows an element, or the program that it needs is not installed.
    """
    from adatom.report.brief import write_brief
    from adatom.theory.dynamics import DynamicsConfig, run_dynamics
    from adatom.theory.potentials import choose_potential
    from adatom.theory.vibrations import measure_amplitudes

    path = Path(path)
    place = Path(out) / f"{path.stem}{SUFFIX}"
    check_run_place(place)
    started, clock = datetime.now().astimezone().isoformat(timespec="seconds"), time.perf_counter()
    structure = read_structure(path)
    potential = choose_potential(structure)
    dynamics = DynamicsConfig(time=config.time, equilibration=min(20.0, config.time / 5))
    with open_run(place) as folder:
        positions, relaxed = run_dynamics(
            structure, config.temperature, config=dynamics, rng=config.seed, report=report
        )
        table = measure_amplitudes(positions, structure)
        notes = _find_doubts(table, positions, relaxed)
        _write_tables(table, relaxed, folder)
        record = RunRecord(
            task="vibrations",
            started=started,
            input={"name": path.name, "path": str(path), "sha256": find_checksum(path)},
            config=config.model_dump() | {"dynamics": dynamics.model_dump()},
            seed=config.seed,
            device="cpu",
            model={"potential": potential.name, "file": potential.file, "source": potential.source},
            image={},
            calibration={},
            summary={
                "cell": relaxed.cell.array,
                "pbc": relaxed.pbc,
                "amplitudes": table.to_dict("records"),
            },
            warnings=notes,
            timings={"all": time.perf_counter() - clock},
            versions=library_versions() | _find_versions(),
        )
        write_record(record, folder)
        write_brief(folder, _make_brief(path.name, table, config))
    return VibrationsResult(place, table, notes)


def read_structure(path: Path) -> "Atoms":
    """Read one structure from a file.

    Parameters
    ----------
    path : Path
        A file of any format that ASE knows; the last structure of several.

    Returns
    -------
    Atoms
        The structure.

    Raises
    ------
    FileError
        If the file is missing, or ASE cannot read it.
    """
    import ase.io

    if not path.is_file():
        raise FileError(f"{path}: does not exist, or is no file")
    try:
        structure = ase.io.read(path)
    except Exception as error:  # every format of ASE has errors of its own
        raise FileError(f"{path}: ASE reads no structure from it ({error})") from error
    return structure[-1] if isinstance(structure, list) else structure


def format_amplitudes(table: "pd.DataFrame") -> str:
    """Show a table of amplitudes to people.

    Parameters
    ----------
    table : DataFrame
        As of `measure_amplitudes`.

    Returns
    -------
    str
        One line per element and coordination, Å².
    """
    lines = ["Mean square displacements, classical molecular dynamics:"]
    lines += ["element  coordination  atoms  in plane, per axis (Å²)  out of plane (Å²)"]
    for row in table.to_dict("records"):
        pairs = [f"{row[name]:.5f} ± {row[f'{name}_err']:.5f}" for name in COLUMNS]
        lines.append(
            f"{row['element']:<9}{row['coordination']:>12}{row['n_atoms']:>7}"
            f"{pairs[0]:>25}{pairs[1]:>19}"
        )
    return "\n".join(lines)


def _make_brief(name: str, table: "pd.DataFrame", config: VibrationsConfig) -> "Brief":
    """What the page says."""
    from adatom.report.brief import Brief, BriefTable

    names = {"n_atoms": "atoms"}
    for column in COLUMNS:
        names[column] = column.removeprefix("u2_").replace("_", " ") + " (Å²)"
        names |= {f"{column}_err": "1σ", f"{column}_spread": "spread"}
    shown = table.rename(columns=names)
    return Brief(
        kind="Vibrations followed",
        title=name,
        result=f"Mean square displacements at {config.temperature:g} K, over {config.time:g} ps of "
        "classical molecular dynamics.",
        figures=(),
        tables=(
            BriefTable(
                "By element and coordination",
                shown,
                "In plane: of one axis. Spread: from atom to atom.",
            ),
        ),
        files="amplitudes (.csv and .parquet), structure.extxyz",
    )


def _find_doubts(
    table: "pd.DataFrame", positions: "np.ndarray", relaxed: "Atoms"
) -> tuple[str, ...]:
    from adatom.theory.vibrations import find_changed_bonds

    notes = []
    n_changed = int(find_changed_bonds(positions, relaxed).sum())
    if n_changed:
        notes.append(
            f"the bonds of {n_changed} atoms changed: they hopped, and the potential may not be "
            "safe there"
        )
    for row in table.to_dict("records"):
        for name in COLUMNS:
            if row[f"{name}_err"] > LARGEST_ERROR * row[name]:
                notes.append(
                    f"{name} of {row['element']} with {row['coordination']} neighbors is uncertain "
                    f"by {row[f'{name}_err'] / row[name]:.0%}: follow it for longer"
                )
    return tuple(notes)


def _write_tables(table: "pd.DataFrame", relaxed: "Atoms", folder: Path) -> None:
    import ase.io

    from adatom.core.table_files import TableWriter

    lengths = {name: "angstrom^2" for name in table.columns if name.startswith("u2")}
    with TableWriter(folder, "amplitudes", units=lengths) as writer:
        writer.append(table)
    ase.io.write(folder / "structure.extxyz", relaxed, format="extxyz")


def _find_versions() -> dict[str, str]:
    installed = {item.metadata["Name"] for item in metadata.distributions()}
    return {name: metadata.version(name) for name in PROGRAMS if name in installed}
