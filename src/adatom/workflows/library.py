"""From run folders to a library of defects, and what it holds."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adatom.core.errors import ConfigError, FileError
from adatom.core.materials import get_material
from adatom.core.progress import Report, ignore_progress
from adatom.core.runs import find_checksum, read_record

if TYPE_CHECKING:
    import pandas as pd

    from adatom.analyze.library import Cuts, Library

KEY = 16  # digits of the checksum in the name of a part


def add_runs(
    library: str | Path, runs: Sequence[str | Path], *, report: Report = ignore_progress
) -> dict[Path, int | None]:
    """Add the defects of analyzed images to a library.

    Parameters
    ----------
    library : str or Path
        Folder of the library; made if it does not exist.
    runs : sequence of str or Path
        Run folders of `adatom analyze`; their input files must be where they were.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    dict
        Defects added by run folder, None for runs of other tasks. A run of an image that the
        library has replaces it.

    Raises
    ------
    FileError
        If a folder is no run, its input is gone or has changed, or the library cannot be written;
        earlier runs are added then.
    """
    from adatom.analyze.library import add_cuts, open_library

    open_library(Path(library))
    added: dict[Path, int | None] = {}
    for number, run in enumerate(map(Path, runs)):
        report(number, len(runs), run.name)
        record = read_record(run)
        if record["task"] != "analyze":
            added[run] = None
            continue
        paths, source = _find_source(run, record)
        frames = _open_frames(run, record, paths, source)
        added[run] = add_cuts(Path(library), _name_part(source), source, frames)
    return added


def _name_part(source: dict[str, Any]) -> str:
    """The same for the same images, whatever their files are called."""
    content = f"{source['sha256']} {source['item']}".encode()
    return hashlib.sha256(content).hexdigest()[:KEY]


def _find_source(run: Path, record: dict[str, Any]) -> tuple[list[Path], dict[str, Any]]:
    """The files of a run, and what a library says of them."""
    given = record["input"]
    is_one = Path(given["path"]).exists()
    paths = [Path(path) for path in ([given["path"]] if is_one else given["path"].split("; "))]
    for path, known in zip(paths, given["sha256"].split("; "), strict=True):
        if not path.exists():
            raise FileError(f"{path}: is gone, and the defects of {run} are cut from it")
        if find_checksum(path) != known:
            raise FileError(f"{path}: has changed since {run} was made")
    return paths, {
        "image": given["name"],
        "path": given["path"],
        "sha256": given["sha256"],
        "item": given["item"],
        "material": record["calibration"]["material"],
        "model": record["model"]["name"],
        "use_lattice": record["config"]["use_lattice"],
        "pixel_size": record["calibration"]["pixel_size"],
        "modality": record["image"]["modality"],
        "energy_eV": record["image"]["energy_eV"],
        "run": str(run.absolute()),
        "versions": record["versions"],
    }


def _open_frames(
    run: Path, record: dict[str, Any], paths: list[Path], source: dict[str, Any]
) -> "Iterator[Cuts]":
    """Cut the defects out of every frame, found by the rules of the run."""
    from adatom.analyze.library import cut_defects
    from adatom.core.chemistry import Chemistry, make_chemistry
    from adatom.core.materials import find_role
    from adatom.images.units import pick_image, set_pixel_size
    from adatom.workflows.analyze import AnalyzeConfig
    from adatom.workflows.choose import read_input
    from adatom.workflows.defects import MOST_ATOMS, find_in_frame, read_frame
    from adatom.workflows.record import frame_number, load_frame

    read = read_input(paths, AnalyzeConfig(**record["config"]))
    image = set_pixel_size(read, source["pixel_size"])
    if not record["summary"]["rules"]:  # no atoms
        return
    chemistry = Chemistry(**record["summary"]["rules"])
    material = get_material(source["material"]) if source["material"] else None
    roles = {find_role(label) for label in record["model"]["labels"]}
    is_known = material is not None and bool(set(make_chemistry(material).hosts) & roles)
    for index in range(image.sizes.get("frame", 1)):
        frame = load_frame(image, index)
        atoms = read_frame(run / "atoms.parquet", frame_number(frame))
        if len(atoms) > MOST_ATOMS:
            continue
        found = find_in_frame(frame, atoms, chemistry, material if is_known else None)
        yield cut_defects(pick_image(frame), found, material)


def list_defects(library: "Library") -> "pd.DataFrame":
    """Count what a library holds.

    Parameters
    ----------
    library : Library
        As `read_library` gives it.

    Returns
    -------
    DataFrame
        One row per name, the commonest first: `kind`, `name`, `n`, `n_whole` (not cut by the border
        of the image), `n_graphs` (different graphs), `n_images`, `bond` (mean, Å), `score` (mean).
    """
    import pandas as pd

    rows = []
    for (kind, name), mine in library.entries.groupby(["kind", "name"]):
        whole = mine[~mine["is_cut"].astype(bool)]
        rows.append(
            {
                "kind": kind,
                "name": name,
                "n": len(mine),
                "n_whole": len(whole),
                "n_graphs": whole["hash"].nunique(),
                "n_images": mine["part"].nunique(),
                "bond": float(mine["bond"].mean()),
                "score": float(mine["score"].mean()),
            }
        )
    columns = ["kind", "name", "n", "n_whole", "n_graphs", "n_images", "bond", "score"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("n", ascending=False, kind="stable", ignore_index=True)


def format_defects(table: "pd.DataFrame") -> str:
    """Show what a library holds to people.

    Parameters
    ----------
    table : DataFrame
        Of `list_defects`.

    Returns
    -------
    str
        A line per name.
    """
    lines = [f"{'name':<22}{'kind':<14}{'number':>7}{'whole':>7}{'images':>8}{'bond (Å)':>10}"]
    lines[0] += f"{'score':>7}"
    for row in table.to_dict("records"):
        bond = f"{row['bond']:.3f}" if math.isfinite(row["bond"]) else ""
        lines.append(
            f"{row['name']:<22}{row['kind']:<14}{row['n']:>7}{row['n_whole']:>7}"
            f"{row['n_images']:>8}{bond:>10}{row['score']:>7.2f}"
        )
    return "\n".join(lines)


def write_gallery(
    library: "Library", path: Path, *, report: Report = ignore_progress
) -> tuple[str, ...]:
    """Draw the mean images of all names of a library.

    Parameters
    ----------
    library : Library
        As `read_library` gives it.
    path : Path
        The picture: .png, .pdf or .svg.
    report : callable
        Called with (steps done, steps in all, what is being done).

    Returns
    -------
    tuple of str
        Why names that have a whole defect are not drawn.

    Raises
    ------
    FileError
        If no defect of the library is whole.
    """
    from adatom.analyze.average import average_defects
    from adatom.plots.library import draw_gallery
    from adatom.plots.style import write_figure

    table = list_defects(library)
    names = table.loc[table["n_whole"] > 0, "name"]
    means, notes = [], []
    for number, name in enumerate(names):
        report(number, len(names), name)
        try:
            means.append(average_defects(library, name))
        except ConfigError as error:  # too few atoms around it
            notes.append(str(error).removeprefix("name: "))
    if not means:
        raise FileError(f"{library.folder}: no defect in it is whole")
    write_figure(draw_gallery(means), path)
    return tuple(notes)
