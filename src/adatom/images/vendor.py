"""Open the files of electron microscopes, by RosettaSciIO."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rsciio import digitalmicrograph, emd, exceptions, hspy, mrc, tia
from rsciio.tia._api import ser_reader

from adatom.images.formats import LAZY_BYTES, Item, find_modality
from adatom.images.units import to_angstrom

DAMAGES = (
    exceptions.DM3FileVersionError,
    exceptions.DM3TagError,
    exceptions.DM3DataTypeError,
    exceptions.DM3TagIDError,
    exceptions.DM3TagTypeError,
    exceptions.ByteOrderError,
)


def open_microscope(path: Path, reader: Callable[..., list[dict[str, Any]]]) -> list[Item]:
    """Open .dm3, .dm4, .emd (Berkeley and Velox), .ser, .emi, .mrc or .hspy.

    Parameters
    ----------
    path : Path
        The file.
    reader : callable
        Of rosettasciio, for this format.

    Returns
    -------
    list of Item
        Every image and every movie; spectra and diffraction are left out.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = reader(str(path), lazy=path.stat().st_size > LAZY_BYTES)
    except DAMAGES as error:
        raise ValueError(f"damaged tag {error}") from error
    items: list[Item] = []
    for number, signal in enumerate(found):
        axes, values = _order_axes(signal)
        if len(axes) not in (2, 3) or any(_is_foreign(axis) for axis in axes):
            continue
        general = signal["metadata"].get("General", {})
        title = str(general.get("title", "")) or (
            path.stem if len(found) == 1 else f"image {number}"
        )
        names = [item.name for item in items]
        name = title if title not in names else f"{title} {number}"
        items.append(Item(name, values, _pixel_size(axes), _find_notes(signal, title), _time(axes)))
    return items


def _is_foreign(axis: dict[str, Any]) -> bool:
    """Whether an axis is one of energy, or of scattering."""
    units = str(axis.get("units")).replace(" ", "")
    return units.endswith(("eV", "rad", "-1", "⁻¹")) or units.startswith("1/")


def _order_axes(signal: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    """Axes and values as (frame, y, x), whatever the order in the file."""
    axes, values = list(signal["axes"]), signal["data"]
    if all(axis.get("index_in_array") is not None for axis in axes):
        axes.sort(key=lambda axis: axis["index_in_array"])
    return axes, values


def _pixel_size(axes: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Å per pixel along y and x, None where the file does not say or says no length."""
    sizes = [to_angstrom(float(axis["scale"]), str(axis.get("units", ""))) for axis in axes[-2:]]
    known = [size for size in sizes if size is not None and 0 < size < np.inf]
    return (known[0], known[1]) if len(known) == 2 else None


def _time(axes: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Time of every frame, s, where the first axis is one of time."""
    factor = {"s": 1.0, "ms": 1e-3}.get(str(axes[0].get("units")))
    if len(axes) != 3 or factor is None:
        return {}
    return {"time": factor * float(axes[0]["scale"]) * np.arange(axes[0]["size"])}


def _find_notes(signal: dict[str, Any], title: str) -> dict[str, Any]:
    """Modality, energy, beam, dwell time and units of the values, where the metadata tell them."""
    attrs: dict[str, Any] = find_modality(title)
    instrument = signal["metadata"].get("Acquisition_instrument", {})
    said = {**instrument.get("SEM", {}), **instrument.get("TEM", {})}
    energy = said.get("beam_energy")
    volts = signal.get("original_metadata", {}).get("microscope", {}).get("high tension")
    if energy:
        attrs["energy_eV"] = 1000 * float(energy)
    elif volts:
        attrs["energy_eV"] = float(volts)
    # RosettaSciIO keeps the current in nA and the dwell time in s.
    for name, key, factor in (
        ("beam_current_pA", "beam_current", 1e3),
        ("dwell_time_us", "dwell_time", 1e6),
    ):
        if said.get(key):
            attrs[name] = factor * float(said[key])
    if units := signal["metadata"].get("Signal", {}).get("quantity"):
        attrs["units"] = str(units)
    return attrs


def read_emd(path: str, *, lazy: bool) -> list[dict[str, Any]]:
    """Signals of an .emd file, axes in the order of the file.

    RosettaSciIO turns all axes of a Berkeley file around, unless they are counted from zero as in
    version 1; they are turned back here.
    """
    names: list[str] = []
    with h5py.File(path, "r") as file:
        file.visit(names.append)
        places = [file, *file.values()]
        is_berkeley = any("version_major" in place.attrs for place in places)
    if not is_berkeley:
        return emd.file_reader(path, lazy=lazy, select_type="image")
    signals = emd.file_reader(path, lazy=lazy, stack_group=False)
    if any(name.endswith(("/dim0", "/datacube")) for name in names):
        return signals
    for signal in signals:
        axes = sorted(signal["axes"], key=lambda axis: axis["index_in_array"])[::-1]
        signal["axes"] = [axis | {"index_in_array": n} for n, axis in enumerate(axes)]
        signal["data"] = signal["data"].T
    return signals


OPENERS: dict[str, Callable[[Path], list[Item]]] = {
    ".dm3": partial(open_microscope, reader=digitalmicrograph.file_reader),
    ".dm4": partial(open_microscope, reader=digitalmicrograph.file_reader),
    ".emd": partial(open_microscope, reader=read_emd),
    # The reader of both kinds goes by the name of the file, which may lie.
    ".ser": partial(open_microscope, reader=ser_reader),
    ".emi": partial(open_microscope, reader=tia.file_reader),
    ".mrc": partial(open_microscope, reader=mrc.file_reader),
    ".hspy": partial(open_microscope, reader=hspy.file_reader),
}
