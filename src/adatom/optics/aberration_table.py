"""Tables of aberrations: as corrector software prints them (text, CSV), and as TOML."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adatom.core.config import read_toml
from adatom.core.errors import ConfigError, FileError
from adatom.core.random import make_rng
from adatom.images.units import to_angstrom
from adatom.optics.ceos import (
    Azimuth,
    Form,
    find_order,
    find_symmetry,
    read_polar,
    write_polar,
)

_ALIASES = {"D5": "R5"}
# What tables are written in, by order: name and Å.
UNITS = {1: ("nm", 10.0), 2: ("nm", 10.0), 3: ("µm", 1e4), 4: ("µm", 1e4), 5: ("mm", 1e7)}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LINE = re.compile(
    rf"(?P<name>[A-Za-z]\d)\s*[:=]?\s*(?P<size>{_NUMBER})\s*(?P<unit>[^\W\d_]+)"
    rf"(?:\s*[/,@∠]?\s*(?P<azimuth>{_NUMBER})\s*(?:°|deg))?"
    rf"(?:\s*[,(]?\s*(?:±|\+/-|\+-|σ)\s*(?P<error>{_NUMBER})\s*(?P<error_unit>[^\W\d_]+)\s*\)?)?\s*"
)
_COLUMNS = ("name", "value", "unit", "azimuth", "error")


@dataclass(frozen=True)
class AberrationTable:
    """Aberration coefficients with their errors.

    Attributes
    ----------
    values : dict
        Complex coefficients in the conjugate form, Å, by their names in `ceos.TERMS`.
    errors : dict
        Standard deviation of real and imaginary part alike, Å, of those that have one.
    covariance : (n, n) array, optional
        Of the real numbers that `name_parts` lists, Å².
    """

    values: Mapping[str, complex]
    errors: Mapping[str, float] = field(default_factory=dict)
    covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        n_parts = len(name_parts(self.values))
        for name, value in self.values.items():
            if not np.isfinite(value):
                raise ConfigError(f"values: must be finite (got {name} = {value:g})")
        for name, error in self.errors.items():
            if name not in self.values or not 0 <= error < np.inf:
                raise ConfigError(
                    f"errors: must be numbers of at least 0 for coefficients that are there (got "
                    f"{name} = {error:g})"
                )
        if self.covariance is None:
            return
        if np.shape(self.covariance) != (n_parts, n_parts):
            raise ConfigError(
                f"covariance: must have {n_parts} rows and columns, one for each real number "
                f"(got shape {np.shape(self.covariance)})"
            )
        variances = np.diag(self.covariance)
        if not (np.isfinite(self.covariance).all() and (variances >= 0).all()):
            raise ConfigError(
                f"covariance: must be finite, with variances of at least 0 (got {variances})"
            )


def name_parts(names: Iterable[str]) -> list[str]:
    """Real numbers that make up some coefficients.

    Parameters
    ----------
    names : iterable of str
        Names of coefficients.

    Returns
    -------
    list of str
        The name itself of one that is real, `A1.x` and `A1.y` for the parts of others.

    Examples
    --------
    >>> name_parts(["C1", "A1"])
    ['C1', 'A1.x', 'A1.y']
    """
    parts = []
    for name in names:
        parts += [f"{name}.x", f"{name}.y"] if find_symmetry(name) else [name]
    return parts


def read_aberrations(
    path: str | Path, *, azimuth: Azimuth = "spatial", form: Form = "conjugate"
) -> AberrationTable:
    """Read a table of aberrations.

    Parameters
    ----------
    path : str or Path
        `.toml` as `write_aberrations` leaves it; `.csv` with a header of `name, value, unit`,
        `azimuth` (degrees) and `error` (in the same unit); any other is text with one coefficient a
        line, as `A1: 1.5 nm / 30° ± 0.2 nm`. Azimuth and error may be missing; units are pm, nm,
        µm, um, mm or Å; lines that begin with # are left out.
    azimuth, form
        What the angles of the table mean, as of `ceos.read_polar`; not for `.toml`.

    Returns
    -------
    AberrationTable
        The coefficients in the order of the file.

    Raises
    ------
    FileError
        If the file cannot be read, or breaks a rule: the message names the line and the value.
    ConfigError
        If it is no TOML.
    """
    path = Path(path)
    if path.suffix.lower() == ".toml":
        return _from_toml(read_toml(path), path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: must be text in UTF-8 ({error.reason})") from error
    rows = _read_csv(lines, path) if path.suffix.lower() == ".csv" else _read_text(lines, path)
    values: dict[str, complex] = {}
    errors: dict[str, float] = {}
    for where, row in rows:
        try:
            name, value, sigma = _read_row(row, azimuth, form)
        except ConfigError as problem:
            raise FileError(f"{path}: {where}: {problem}") from problem
        if name in values:
            raise FileError(f"{path}: {where}: each coefficient must be there once (got {name})")
        values[name] = value
        if sigma is not None:
            errors[name] = sigma
    if not values:
        raise FileError(f"{path}: must hold at least one coefficient, as `A1: 1.5 nm / 30°`")
    return AberrationTable(values, errors)


def draw_aberrations(
    table: AberrationTable, n_draws: int, rng: np.random.Generator | int
) -> list[dict[str, complex]]:
    """Draw coefficients from what a table does not know of them.

    Parameters
    ----------
    table : AberrationTable
        With a covariance, or with errors.
    n_draws : int
        How many.
    rng : Generator or int
        Draws them.

    Returns
    -------
    list of dict
        Complex coefficients, Å, each like `table.values`; none if the table has no errors.
    """
    if table.covariance is None and not table.errors:
        return []
    parts = name_parts(table.values)
    covariance = table.covariance
    if covariance is None:
        errors = [table.errors.get(part.split(".")[0], 0.0) for part in parts]
        covariance = np.diag(np.square(errors))
    moves = make_rng(rng).multivariate_normal(np.zeros(len(parts)), covariance, n_draws)
    drawn = []
    for move in moves:
        values = dict(table.values)
        for part, step in zip(parts, move, strict=True):
            name, _, axis = part.partition(".")
            values[name] += step * (1j if axis == "y" else 1)
        drawn.append(values)
    return drawn


def _read_text(lines: list[str], path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise FileError(
                f"{path}: line {number}: must be as `A1: 1.5 nm / 30° ± 0.2 nm` (got {text[:60]!r})"
            )
        yield f"line {number}", found.groupdict()


def _read_csv(lines: list[str], path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    kept = [(number, line) for number, line in kept if not line.lstrip().startswith("#")]
    reader = csv.DictReader([line.replace(";", ",") for _, line in kept], skipinitialspace=True)
    header = [name.strip().lower() for name in reader.fieldnames or []]
    unknown = [name for name in header if name not in _COLUMNS]
    if unknown or not {"name", "value", "unit"} <= set(header):
        raise FileError(
            f"{path}: columns must be name, value, unit and may be azimuth, error (got "
            f"{', '.join(header) or 'none'})"
        )
    reader.fieldnames = header
    for (number, _), row in zip(kept[1:], reader, strict=True):
        cells = {key: (row[key] or "").strip() or None for key in header}
        cells |= {"size": cells.pop("value"), "error_unit": cells["unit"]}
        if cells["name"] is None or cells["size"] is None or cells["unit"] is None or None in row:
            raise FileError(f"{path}: line {number}: must fill name, value and unit, and no more")
        yield f"line {number}", cells


def _read_row(
    row: Mapping[str, str | None], azimuth: Azimuth, form: Form
) -> tuple[str, complex, float | None]:
    name = _ALIASES.get(str(row["name"]).upper(), str(row["name"]).upper())
    is_real = find_symmetry(name) == 0
    size = _to_length(row["size"], row["unit"], f"value of {name}")
    angle = row.get("azimuth")
    if angle is None and not is_real:
        raise ConfigError(f"azimuth of {name}: must be there, as it is not round (got none)")
    turn = 0.0 if angle is None else _to_number(angle, f"azimuth of {name}")
    value = read_polar(name, size, turn, azimuth=azimuth, form=form)
    error = row.get("error")
    if error is None:
        return name, value, None
    sigma = _to_length(error, row["error_unit"], f"error of {name}")
    if sigma < 0:
        raise ConfigError(f"error of {name}: must not be below 0 (got {error})")
    return name, value, sigma


def _to_length(text: str | None, unit: str | None, what: str) -> float:
    length = to_angstrom(_to_number(text, what), unit or "")
    if length is None:
        raise ConfigError(f"{what}: unit must be pm, nm, µm, um, mm or Å (got {unit!r})")
    return length


def _to_number(text: str | None, what: str) -> float:
    if re.fullmatch(_NUMBER, text or "") is None or not np.isfinite(float(text or "")):
        raise ConfigError(f"{what}: must be a number (got {text!r})")
    return float(text or "")


def _from_toml(content: Mapping[str, Any], path: Path) -> AberrationTable:
    values: dict[str, complex] = {}
    errors: dict[str, float] = {}
    try:
        for name, item in content["aberrations"].items():
            wanted = {"x", "y"} if find_symmetry(name) else {"x"}
            if not wanted <= set(item) <= wanted | {"error"}:
                raise ConfigError(
                    f"{name}: must have {' and '.join(sorted(wanted))}, and may have error (got "
                    f"{', '.join(item)})"
                )
            values[name] = complex(float(item["x"]), float(item.get("y", 0)))
            if "error" in item:
                errors[name] = float(item["error"])
        given = content.get("covariance")
        covariance = None if given is None else np.array(given, float)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(
            f"{path}: must hold [aberrations] with lines as A1 = {{x = 1, y = 2, error = 0.1}} in Å"
            f" ({type(error).__name__}: {error})"
        ) from error
    except ConfigError as error:
        raise FileError(f"{path}: {error}") from error
    try:
        return AberrationTable(values, errors, covariance)
    except ConfigError as error:
        raise FileError(f"{path}: {error}") from error


def write_aberrations(
    table: AberrationTable,
    path: str | Path,
    *,
    azimuth: Azimuth = "spatial",
    form: Form = "conjugate",
) -> None:
    """Write a table of aberrations so that `read_aberrations` gives it back.

    Parameters
    ----------
    table : AberrationTable
        Only `.toml` keeps its covariance.
    path : str or Path
        Ends in `.toml` (parts x and y in Å), `.csv`, or `.txt`; the latter two in nm, µm and mm
        with azimuths in degrees.
    azimuth, form
        How angles are written; not for `.toml`.

    Raises
    ------
    FileError
        If the ending is another, or the place cannot be written.
    """
    path = Path(path)
    writers = {
        ".toml": lambda: _to_toml(table),
        ".csv": lambda: _to_csv(table, azimuth, form),
        ".txt": lambda: _to_text(table, azimuth, form),
    }
    if path.suffix.lower() not in writers:
        raise FileError(f"{path}: must end in {', '.join(writers)} (got {path.suffix!r})")
    text = writers[path.suffix.lower()]()
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror})") from error


def _to_csv(table: AberrationTable, azimuth: Azimuth, form: Form) -> str:
    lines = [",".join(_COLUMNS)]
    for name, value in table.values.items():
        unit, factor = UNITS[find_order(name)]
        size, angle = write_polar(name, value, azimuth=azimuth, form=form)
        turn = repr(angle) if find_symmetry(name) else ""
        error = repr(float(table.errors[name] / factor)) if name in table.errors else ""
        lines.append(f"{name},{float(size / factor)!r},{unit},{turn},{error}")
    return "\n".join(lines) + "\n"


def _to_text(table: AberrationTable, azimuth: Azimuth, form: Form) -> str:
    lines = []
    for name, value in table.values.items():
        unit, factor = UNITS[find_order(name)]
        size, angle = write_polar(name, value, azimuth=azimuth, form=form)
        line = f"{name}: {float(size / factor)!r} {unit}"
        line += f" / {angle!r}°" if find_symmetry(name) else ""
        if name in table.errors:
            line += f" ± {float(table.errors[name] / factor)!r} {unit}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _to_toml(table: AberrationTable) -> str:
    # Keys at the top must stand before the first table.
    lines = ["# Coefficients x + iy in the conjugate form (Uhlemann and Haider 1998), Å."]
    if table.covariance is not None:
        lines += [f"# Covariance of {', '.join(name_parts(table.values))}, Å².", "covariance = ["]
        lines += [
            f"  [{', '.join(repr(float(cell)) for cell in row)}]," for row in table.covariance
        ]
        lines += ["]"]
    lines += ["", "[aberrations]"]
    for name, value in table.values.items():
        cells = [f"x = {float(value.real)!r}"]
        cells += [f"y = {float(value.imag)!r}"] if find_symmetry(name) else []
        cells += [f"error = {float(table.errors[name])!r}"] if name in table.errors else []
        lines.append(f"{name} = {{ {', '.join(cells)} }}")
    return "\n".join(lines) + "\n"
