"""Dose of a data set from numbers or from its file, as a table and on a chart."""

from pathlib import Path
from typing import Any

from adatom.core.errors import ConfigError, FileError
from adatom.optics.dose import Dose, DoseConfig, calculate_dose, load_published_doses

ENDINGS = (".png", ".pdf", ".svg")
DEFAULT = DoseConfig()


def find_dose(
    path: str | Path | None = None, item: str | None = None, *, config: DoseConfig = DEFAULT
) -> Dose:
    """Dose and dwell time of a data set.

    Parameters
    ----------
    path : str or Path, optional
        Its file, for the numbers that are not given.
    item : str, optional
        Name of the image in a file that holds several.
    config : DoseConfig
        Numbers that replace those of the file.

    Returns
    -------
    Dose
        Per frame and in all.

    Raises
    ------
    FileError
        If the file cannot be read, or holds several images and none is named.
    ConfigError
        If a number is missing, or breaks its rule.
    """
    if path is None:
        return calculate_dose(config)
    given = config.model_dump(exclude_none=True)
    values = _read_settings(Path(path), item) | given
    if "dwell_time" in given and "frame_time" not in given:
        values.pop("frame_time", None)  # that of the file stands in for a missing dwell time
    return calculate_dose(DoseConfig.from_mapping(values, source=str(path)))


def _read_settings(path: Path, item: str | None) -> dict[str, Any]:
    """What a file says of its recording."""
    from adatom.images.read import describe_file

    items = {found["name"]: found for found in describe_file(path)["items"]}
    names = ", ".join(items)
    if item is None and len(items) > 1:
        raise FileError(f"{path}: holds {len(items)} images; ask for one of {names}")
    if item is not None and item not in items:
        raise FileError(f"{path}: has no image {item!r} (has {names})")
    found = next(iter(items.values())) if item is None else items[item]
    *frames, height, width = found["shape"]
    size = found["pixel_size"]
    values = {
        "beam_current": found["beam_current_pA"],
        "dwell_time": found["dwell_time_us"],
        # A square pixel of the same area.
        "pixel_size": None if size is None else (size[0] * size[1]) ** 0.5,
        "shape": (height, width),
        "frames": frames[0] if frames else 1,
    }
    if found["dwell_time_us"] is None:
        values["frame_time"] = found["frame_time"]
    return {name: value for name, value in values.items() if value is not None}


def format_dose(dose: Dose, material: str | None = None) -> str:
    """Write a dose as a small table.

    Parameters
    ----------
    dose : Dose
        What was found.
    material : str, optional
        Formula behind the numbers per atom.

    Returns
    -------
    str
        A line for each quantity: one frame, all frames.
    """
    n = dose.n_frames
    rows = {
        "electrons per pixel": dose.electrons_per_pixel,
        "dose (e/Å²)": dose.dose_per_frame,
        "dwell time (µs/Å²)": dose.dwell_per_area,
        f"electrons per atom of {material}": dose.electrons_per_atom,
        f"dwell time per atom of {material} (µs)": dose.dwell_per_atom,
    }
    lines = [f"{'':36}{'a frame':>12}{f'{n} frames' if n > 1 else '':>14}".rstrip()]
    for name, one in rows.items():
        if one is not None:
            every = f"{one * n:.4g}" if n > 1 else ""
            lines.append(f"{name:36}{one:>12.4g}{every:>14}".rstrip())
    if dose.dose_rate is not None:
        lines.append(f"{'dose rate, mean (e/(Å² s))':36}{dose.dose_rate:>12.4g}")
    return "\n".join(lines)


def write_dose_chart(dose: Dose, path: Path, *, name: str = "this data set") -> None:
    """Draw a dose beside those of published data sets.

    Parameters
    ----------
    dose : Dose
        What was found.
    path : Path
        .png, .pdf or .svg.
    name : str
        What to call it.

    Raises
    ------
    ConfigError
        If the name of the file ends in something else.
    FileError
        If it cannot be written.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"out: must end in one of {', '.join(ENDINGS)} (got {str(path)!r})")
    from adatom.plots.dose import draw_dose
    from adatom.plots.style import write_figure

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_figure(draw_dose(dose, load_published_doses(), name=name), path)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error
