"""`adatom library`: defects of many images."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from adatom.cli.messages import print_json
from adatom.core.progress import show_progress

library = App(name="library", help="Collect the defects of many images, and average them.")

Place = Annotated[Path, Parameter(help="Folder of the library.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout.")]


@library.command
def add(
    place: Place,
    runs: Annotated[list[Path], Parameter(help="Folders NAME.adatom of `adatom analyze`.")],
    /,
    *,
    as_json: Json = False,
) -> None:
    """Add the defects of analyzed images to a library, which is made if there is none.

    A run of an image that the library already has replaces it. The image files must be where they
    were when they were analyzed.

    Example: adatom library add defects.library results/*.adatom
    """
    from adatom.workflows.library import add_runs

    with show_progress(quiet=as_json) as report:
        added = add_runs(place, runs, report=report)
    if as_json:
        print_json({str(run): n for run, n in added.items()})
        return
    for run, n in added.items():
        print(f"{run}: {'skipped, no run of adatom analyze' if n is None else f'{n} defects'}")


@library.command(name="list")
def list_library(
    place: Place,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Picture of all mean defects: .png, .pdf or .svg.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the defects of a library by name.

    Example: adatom library list defects.library --out gallery.png
    """
    from adatom.analyze.library import read_library
    from adatom.workflows.library import format_defects, list_defects, write_gallery

    found = read_library(place)
    if out is not None:
        with show_progress(quiet=as_json) as report:
            notes = write_gallery(found, out, report=report)
        for note in notes:
            print(f"adatom: warning: {place}: {note}", file=sys.stderr)
    table = list_defects(found)
    if as_json:
        print_json(table.to_dict("records"))
    else:
        print(format_defects(table))


@library.command
def show(
    place: Place,
    name: Annotated[str, Parameter(help="Name of a defect, as `adatom library list` gives it.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the run folder.")] = Path(),
    ideal: Annotated[
        Path | None, Parameter(help="Structure file with this defect, to measure strain against.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Average the defects of one name: image, structure, spread, strain; leave NAME.adatom.

    Example: adatom library show defects.library Si1C3 --out results
    """
    from adatom.workflows.mean_defect import format_mean, show_defect, summarize_mean

    result = show_defect(place, name, out, ideal=ideal)
    if as_json:
        found = {"folder": result.folder, "warnings": result.warnings}
        print_json(summarize_mean(result.mean) | found)
        return
    for warning in result.warnings:
        print(f"adatom: warning: {name}: {warning}", file=sys.stderr)
    print(f"{format_mean(result.mean)}\n  {result.folder / 'report.html'}")
