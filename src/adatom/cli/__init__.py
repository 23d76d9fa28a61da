"""The command line: every command calls one public function."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from adatom import __version__
from adatom.cli.library import library
from adatom.cli.messages import describe_error, describe_usage, format_mapping, print_json
from adatom.core.errors import AdatomError
from adatom.core.progress import Report, show_progress
from adatom.core.runs import plain_values
from adatom.optics.dose import DoseConfig
from adatom.workflows.analyze import DEFAULT, AnalyzeConfig
from adatom.workflows.choose import choose_folders, find_inputs
from adatom.workflows.restore import RunConfig
from adatom.workflows.vibrations import VibrationsConfig

HELP = """From atomic-resolution microscope images to atoms, defects and their kinetics.

Try `adatom demo` first, then `adatom analyze image.dm3 --material MoS2`.
"""

NO_DOSE = DoseConfig()

app = App(
    name="adatom",
    help=HELP,
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
)
models = App(name="models", help="List the models that ship with adatom, or show the card of one.")
app.command(models)
app.command(library)

Recipe = Annotated[str, Parameter(help="Name of a shipped recipe, or a TOML file.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON on stdout.")]


@app.command
def analyze(
    paths: Annotated[list[str], Parameter(help="Files, folders or quoted patterns.")],
    /,
    *,
    config: Annotated[AnalyzeConfig, Parameter(name="*")] = DEFAULT,
    out: Annotated[Path | None, Parameter(help="Folder for the run folders (here).")] = None,
    movie: Annotated[
        bool, Parameter(negative=(), help="Take the files of a folder for frames of one movie.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Find the atoms of images, movies and focal series; leave a folder NAME.adatom with a report.

    A movie or a large image that was stopped goes on where it was with the same command.
    With --focus, all files given are the images of one focal series.

    Example: adatom analyze image.dm3 --material MoS2 --out results
    Example: adatom analyze a.dm3 b.dm3 c.dm3 --focus -30 20 70 --material MoS2
    """
    files = find_inputs(paths, as_movies=movie)
    inputs = [files] if config.focus is not None else [[file] for file in files]
    places = choose_folders([group[0] for group in inputs], out, config.item)
    failed = False
    with show_progress(quiet=as_json) as report:
        for number, (group, place) in enumerate(zip(inputs, places, strict=True), 1):
            path = group[0]
            name = path.name if len(inputs) == 1 else f"{path.name} ({number} of {len(inputs)})"
            try:
                _analyze_one(group, place, config, as_json, _name_steps(report, name))
            except (AdatomError, OSError, MemoryError) as error:
                failed = True
                message = describe_error(error)
                if str(path) not in message:
                    message = f"{path}: {message}"
                print(f"adatom: error: {message}", file=sys.stderr)
                if as_json:
                    print_json({"input": str(path), "error": message})
    return int(failed)


def _name_steps(report: Report, name: str) -> Report:
    return lambda done, in_all, text: report(done, in_all, f"{name}: {text}")


def _analyze_one(
    files: list[Path], place: Path, config: AnalyzeConfig, as_json: bool, report: Report
) -> None:
    from adatom.workflows.analyze import analyze_image

    result = analyze_image(files, place, config=config, report=report)
    path, page = files[0], result.folder / "report.html"
    if as_json:
        found = {"pixel_size": result.calibration.pixel_size, "warnings": result.warnings}
        print_json({"input": str(path), "report": str(page)} | result.summary | found)
        return
    for warning in result.warnings:
        print(f"adatom: warning: {path}: {warning}", file=sys.stderr)
    print(f"{path}: {result.summary['sentence']}\n  {page}")


@app.command
def simulate(
    recipe: Recipe,
    /,
    *,
    out: Annotated[Path, Parameter(help="New folder for the data set.")],
    n: Annotated[int, Parameter(help="Number of images.", validator=Number(gt=0))] = 10,
    seed: Annotated[int, Parameter(help="Seed of the images.", validator=Number(gte=0))] = 1,
    workers: Annotated[
        int | None,
        Parameter(help="Processes (as many as there are cores).", validator=Number(gt=0)),
    ] = None,
) -> None:
    """Simulate a data set: images, or waves to draw images from, the true atoms, and a picture.

    A data set that was stopped goes on where it was with the same command. The same recipe and seed
    give the same bits with any number of workers.

    Example: adatom simulate hrtem_mos2 --out data --n 20
    """
    from adatom.workflows.simulate import simulate_recipe

    with show_progress() as report:
        found = simulate_recipe(recipe, out, n, seed=seed, n_workers=workers, report=report)
    print(found)


@app.command
def train(
    recipe: Recipe,
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the training and its model.")],
    start: Annotated[
        str | None, Parameter(help="Model to train on from: a shipped one's name, or a card.")
    ] = None,
    resume: Annotated[bool, Parameter(negative=(), help="Continue a stopped training.")] = False,
) -> None:
    """Train a network on images simulated on the fly; leave a model with its card.

    Example: adatom train haadf_mx2 --out training
    """
    from adatom.workflows.train import train_recipe

    with show_progress() as report:
        print(train_recipe(recipe, out, start=start, resume=resume, report=report))


@app.command
def evaluate(
    model: Annotated[str, Parameter(help="Name of a shipped model, or the path of a card.")],
    recipe: Recipe,
    /,
    *,
    n: Annotated[int, Parameter(help="Number of images.", validator=Number(gt=0))] = 100,
    as_json: Json = False,
) -> None:
    """Score a model on simulated images that it has not seen.

    Example: adatom evaluate haadf-mx2 haadf_mx2
    """
    from adatom.learn.build import evaluate_model
    from adatom.networks.model import load_model
    from adatom.simulate.recipe import load_recipe

    with show_progress(quiet=as_json) as report:
        figures = evaluate_model(load_model(model), load_recipe(recipe), n, report=report)
    if as_json:
        print_json(figures)
    else:
        print(format_mapping(figures))


@app.command
def info(
    path: Annotated[Path, Parameter(help="A microscope file, or a folder of frames.")],
    /,
    *,
    as_json: Json = False,
) -> None:
    """Say what a file, or a folder of frames, holds: images, shapes, pixel sizes, settings.

    Example: adatom info image.dm3
    """
    from adatom.images.read import describe_file

    found = plain_values(describe_file(path))
    if as_json:
        print_json(found)
        return
    print(format_mapping(found))


@app.command
def dose(
    path: Annotated[Path | None, Parameter(help="A file, for what is not given.")] = None,
    /,
    *,
    config: Annotated[DoseConfig, Parameter(name="*")] = NO_DOSE,
    item: Annotated[
        str | None, Parameter(help="Name of the image in a file that holds several.")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="Chart beside published data sets: .png, .pdf or .svg.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what dose and dwell time a data set cost, beside those of published ones.

    Example: adatom dose --beam-current 30 --dwell-time 4 --pixel-size 0.1 --out dose.png
    Example: adatom dose movie.dm4 --beam-current 30 --material MoS2
    """
    from adatom.workflows.dose import find_dose, format_dose, write_dose_chart

    found = find_dose(path, item, config=config)
    if out is not None:
        write_dose_chart(found, out, name="this data set" if path is None else path.name)
    if as_json:
        print_json(asdict(found))
    else:
        print(format_dose(found, config.material))


@app.command
def demo(
    *, out: Annotated[Path, Parameter(help="Folder for the image and its results.")] = Path("demo")
) -> None:
    """Simulate an image, find its atoms with the shipped model, and score them against the truth.

    Example: adatom demo --out demo
    """
    from adatom.workflows.demo import run_demo

    with show_progress() as report:
        text = run_demo(out, report=report)
    print(text)


@app.command
def vibrations(
    structure: Annotated[Path, Parameter(help="A structure file that ASE reads.")],
    /,
    *,
    config: Annotated[VibrationsConfig, Parameter(name="*")],
    out: Annotated[Path, Parameter(help="Folder for the run folder.")] = Path(),
    as_json: Json = False,
) -> None:
    """Follow the atoms of a structure in time; leave their mean square displacements.

    Needs the extra `md`. Example: adatom vibrations sheet.extxyz --temperature 300 --out results
    """
    from adatom.workflows.vibrations import find_vibrations, format_amplitudes

    with show_progress(quiet=as_json) as report:
        result = find_vibrations(structure, out, config=config, report=report)
    if as_json:
        found = {"folder": result.folder, "warnings": result.warnings}
        print_json(found | {"amplitudes": result.table.to_dict("records")})
        return
    for warning in result.warnings:
        print(f"adatom: warning: {structure}: {warning}", file=sys.stderr)
    print(f"{format_amplitudes(result.table)}\n  {result.folder / 'report.html'}")


@app.command
def tableau(
    recipe: Annotated[Path, Parameter(help="TOML file with the tilts and [film] or [probe].")],
    paths: Annotated[list[str], Parameter(help="Images in the order of the tilts, or a movie.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="Folder for the run folder.")] = Path(),
    as_json: Json = False,
) -> None:
    """Find the aberrations of a microscope from the images of a Zemlin tableau.

    Diffractograms of a film, or over-, in- and underfocused images of a probe (docs/tableau.md).

    Example: adatom tableau tableau.toml images/ --out results
    """
    from adatom.optics.tableau import format_tableau
    from adatom.workflows.tableau import run_tableau, summarize_tableau

    files = find_inputs(paths, as_movies=True)
    with show_progress(quiet=as_json) as report:
        result = run_tableau(recipe, files, out, report=report)
    if as_json:
        found = {"folder": result.folder, "warnings": result.fit.warnings}
        print_json(found | summarize_tableau(result.fit))
        return
    for warning in result.fit.warnings:
        print(f"adatom: warning: {recipe}: {warning}", file=sys.stderr)
    print(f"{format_tableau(result.fit)}\n  {result.folder / 'report.html'}")


@app.command
def restore(
    path: Annotated[Path, Parameter(help="A HAADF-STEM image or movie.")],
    /,
    *,
    config: Annotated[RunConfig, Parameter(name="*")],
    out: Annotated[Path, Parameter(help="Folder for the run folder.")] = Path(),
    as_json: Json = False,
) -> None:
    """Take the probe out of an image: restore the object function; leave a folder NAME.adatom.

    With --train the network learns on the images themselves before (docs/restoration.md).

    Example: adatom restore image.dm4 --probe tableau.adatom/aberrations.toml --semi-angle 30
    """
    from adatom.workflows.restore import run_restore

    with show_progress(quiet=as_json) as report:
        result = run_restore(path, out, config=config, report=report)
    if as_json:
        found = {"input": str(path), "folder": result.folder, "warnings": result.warnings}
        print_json(found | result.summary)
        return
    for warning in result.warnings:
        print(f"adatom: warning: {path}: {warning}", file=sys.stderr)
    print(f"{format_mapping(result.summary)}\n  {result.folder / 'report.html'}")


@models.command(name="list")
@models.default
def list_all(*, as_json: Json = False) -> None:
    """List the models that ship with adatom.

    Example: adatom models list
    """
    from adatom.networks.model import list_models
    from adatom.networks.restorer import list_restorers

    for card in list_models():
        if as_json:
            print_json(card.model_dump(mode="json", exclude={"recipe"}))
        else:
            print(f"{card.name}: {card.title} Labels {', '.join(card.labels)}.")
    for restorer in list_restorers():
        if as_json:
            print_json(restorer.model_dump(mode="json", exclude={"recipe"}))
        else:
            print(f"{restorer.name}: {restorer.title} For `adatom restore`.")


@models.command
def card(
    name: Annotated[str, Parameter(help="A shipped model's name, or the path of a card.")],
    /,
    *,
    as_json: Json = False,
) -> None:
    """Show the card of a model: what it finds, how well, and where it fails.

    Example: adatom models card haadf-mx2
    """
    from adatom.networks.restorer import load_card

    values = load_card(name).model_dump(mode="json")
    if as_json:
        print_json(values)
    else:
        print(format_mapping({key: value for key, value in values.items() if key != "recipe"}))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the shell if left out.

    Returns
    -------
    int
        Exit code: 0, 1 after an error, 2 for a wrong command, 130 if interrupted.
    """
    try:
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        return int(result or 0)
    except CycloptsError as error:
        print(f"adatom: error: {describe_usage(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("adatom: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except (AdatomError, OSError, MemoryError) as error:
        print(f"adatom: error: {describe_error(error)}", file=sys.stderr)
        return 1
