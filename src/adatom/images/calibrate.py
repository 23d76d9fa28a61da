"""Give an image its pixel size: from the header, from an option, or from its own lattice."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import xarray as xr
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import CalibrationError
from adatom.core.materials import MATERIALS, Material, get_material
from adatom.images.lattice import Lattice, find_lattice
from adatom.images.units import pick_image, pixel_size, set_pixel_size

LARGEST_FIELD = 4096  # pixels along an axis whose lattice is looked for


class CalibrateConfig(Config):
    """When a pixel size and the lattice are said to disagree."""

    largest_misfit: float = Field(
        0.03, gt=0, description="Largest part by which pixel size and lattice may differ."
    )
    match_range: float = Field(
        0.12, gt=0, description="Part within which the table is searched for an unnamed material."
    )


DEFAULT = CalibrateConfig()


@dataclass(frozen=True)
class Calibration:
    """An image with its pixel size, and how that was found.

    Attributes
    ----------
    image : DataArray
        The image with coordinates y, x in Å.
    pixel_size : tuple of float
        Å per pixel along y and x.
    pixel_size_err : tuple of float
        Standard errors along y and x, Å; nan where header or option gave the size.
    shear_deg : float
        Angle between the axes of the image on the sample, less 90°; nan if no lattice was used.
    matrix : (2, 2) array
        Takes offsets [y, x] in pixels to Å on the sample; the x axis keeps its direction.
    material : Material or None
        Material whose lattice was compared: the one named, else the closest of the table.
    source : {"header", "lattice", "option"}
        Where the pixel size comes from.
    message : str
        One sentence that says what was done.
    warnings : tuple of str
        What does not fit.
    """

    image: xr.DataArray
    pixel_size: tuple[float, float]
    pixel_size_err: tuple[float, float]
    shear_deg: float
    matrix: np.ndarray
    material: Material | None
    source: Literal["header", "lattice", "option"]
    message: str
    warnings: tuple[str, ...] = ()


def calibrate_image(
    image: xr.DataArray,
    *,
    material: Material | str | None = None,
    config: CalibrateConfig = DEFAULT,
) -> Calibration:
    """Give an image its pixel size, and compare what the header says with the lattice.

    A pixel size that the file holds is kept, unless a material is named whose lattice disagrees
    by more than `largest_misfit` on either axis; one that the user gave is always kept. Without
    a pixel size the lattice of the named material gives it. Of a movie the first frame is used,
    of a focal series the middle image.

    Parameters
    ----------
    image : DataArray
        Image (y, x), movie (frame, y, x) or focal series (focus, y, x), with or without
        coordinates in Å.
    material : Material or str, optional
        Material that the image shows.
    config : CalibrateConfig
        Limits of disagreement.

    Returns
    -------
    Calibration
        The image with coordinates, pixel size, errors, shear, and what was done.

    Raises
    ------
    CalibrationError
        If there is no pixel size and no material, or no lattice is to be seen.
    ConfigError
        If the material is not known.

    Notes
    -----
    A lattice cannot tell scan distortion from strain: the mean strain of the image is taken to
    be zero.
    """
    if isinstance(material, str):
        material = get_material(material)
    if "y" in image.coords and "x" in image.coords:
        return _check_header(image, material, config)
    if material is None:
        raise CalibrationError(
            f"{_name(image)}: the file has no pixel size, and a lattice gives none without its "
            "material; name it with --material, or give --pixel-size (Å)"
        )
    return _use_lattice(image, _find_in(image), material, reason="the file has no pixel size")


def fit_matrix(lattice: Lattice, material: Material) -> np.ndarray:
    """Matrix from pixels to Å that makes the lattice hexagonal.

    Parameters
    ----------
    lattice : Lattice
        Vectors in pixels.
    material : Material
        Gives the lattice constant.

    Returns
    -------
    (2, 2) array
        Takes [y, x] in pixels to [y, x] in Å; its columns are one step along y and along x, and
        the step along x stays on the x axis.
    """
    ideal = material.lattice * np.array([[0, 1], [np.sqrt(0.75), 0.5]])
    matrix = np.linalg.solve(lattice.vectors, ideal).T
    along_x = matrix[:, 1] / np.linalg.norm(matrix[:, 1])
    turn = np.array([[along_x[1], -along_x[0]], [along_x[0], along_x[1]]])
    return turn @ matrix


def _sizes_with_errors(
    lattice: Lattice, material: Material
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Matrix, pixel sizes (y, x) and their errors, propagated to first order."""
    matrix = fit_matrix(lattice, material)
    sizes = np.linalg.norm(matrix, axis=0)
    slope = np.zeros((2, 2, 2))
    step = 1e-5 * float(np.abs(lattice.vectors).max())
    for index in np.ndindex(2, 2):
        moved = lattice.vectors.copy()
        moved[index] += step
        shifted = replace(lattice, vectors=moved)
        slope[:, *index] = np.linalg.norm(fit_matrix(shifted, material), axis=0) - sizes
    slope /= step
    variance = np.einsum("aij,ijkl,akl->a", slope, lattice.covariance, slope)
    return matrix, sizes, np.sqrt(variance)


def _find_in(image: xr.DataArray) -> Lattice:
    frame = pick_image(image)
    # The middle of a large image says as much, and the transform of all of it would not fit.
    middle = {
        name: slice(max(n - LARGEST_FIELD, 0) // 2, (n + LARGEST_FIELD) // 2)
        for name, n in frame.sizes.items()
    }
    frame = frame.isel(middle)
    try:
        return find_lattice(np.asarray(frame.transpose("y", "x")))
    except CalibrationError as error:
        raise CalibrationError(str(error).replace("image:", f"{_name(image)}:", 1)) from error


def _check_header(
    image: xr.DataArray, material: Material | None, config: CalibrateConfig
) -> Calibration:
    """Keep the pixel size of header or option, or replace it by that of the lattice."""
    given, origin = np.array(pixel_size(image)), _origin(image)
    said = f"The pixel size {_say(given)} of the {origin} was kept"
    try:
        lattice = _find_in(image)
    except CalibrationError as error:
        note = f"the pixel size of the {origin} could not be checked ({error})"
        message = f"{said}; no lattice was seen."
        return _keep(image, None, material, message=message, warnings=(note,))
    compared = material or _match(lattice, given, config.match_range)
    if compared is None:
        note = f"{_name(image)}: the lattice at this pixel size fits no material of the table"
        return _keep(image, None, None, message=f"{said}; no material fits it.", warnings=(note,))
    _, sizes, _ = _sizes_with_errors(lattice, compared)
    percent = " and ".join(f"{100 * part:+.1f} %" for part in sizes / given - 1)
    message = f"{said}; the lattice of {compared.name} gives {_say(sizes)} ({percent})."
    if np.abs(given / sizes - 1).max() <= config.largest_misfit:
        return _keep(image, lattice, compared, message=message)
    note = (
        f"{_name(image)}: {origin} and lattice disagree: {_say(given)} against {_say(sizes)} "
        f"by the lattice of {compared.name}"
    )
    if material is not None and origin == "header":
        reason = "the header disagrees"
        return _use_lattice(image, lattice, material, reason=reason, warnings=(note,))
    return _keep(image, lattice, compared, message=message, warnings=(note,))


def _match(lattice: Lattice, given: np.ndarray, match_range: float) -> Material | None:
    """Material of the table whose lattice is nearest to that of the image, along both axes."""
    cell = lattice.vectors * given
    measured = np.sqrt(abs(float(np.linalg.det(cell))) / np.sqrt(0.75))
    best = min(MATERIALS.values(), key=lambda known: abs(known.lattice / measured - 1))
    # No scan is as distorted as another lattice that is taken for a stretched one of these.
    _, sizes, _ = _sizes_with_errors(lattice, best)
    misfits = [best.lattice / measured - 1, *(sizes / given - 1)]
    return best if np.abs(misfits).max() <= match_range else None


def _keep(
    image: xr.DataArray,
    lattice: Lattice | None,
    material: Material | None,
    *,
    message: str,
    warnings: tuple[str, ...] = (),
) -> Calibration:
    """Keep the coordinates of the image as they are."""
    sizes = pixel_size(image)
    shear = np.nan
    if lattice is not None and material is not None:
        shear = _shear(fit_matrix(lattice, material))
    return Calibration(
        image=image,
        pixel_size=sizes,
        pixel_size_err=(np.nan, np.nan),
        shear_deg=shear,
        matrix=np.diag(sizes),
        material=material,
        source=_origin(image),
        message=message,
        warnings=warnings,
    )


def _use_lattice(
    image: xr.DataArray,
    lattice: Lattice,
    material: Material,
    *,
    reason: str,
    warnings: tuple[str, ...] = (),
) -> Calibration:
    """Replace the coordinates of the image by those that its lattice gives."""
    matrix, sizes, errors = _sizes_with_errors(lattice, material)
    shear = _shear(matrix)
    ratio = float(max(sizes) / min(sizes))
    if ratio > 1.03 or abs(shear) > 2:
        note = f"{_name(image)}: axes differ by {100 * (ratio - 1):.1f} %, shear {shear:+.1f}°"
        warnings = (*warnings, note)
    message = (
        f"The lattice of {material.name} (a = {material.lattice:g} Å, {lattice.n_spots} spots) "
        f"gave the pixel size {_say(sizes)}, as {reason}."
    )
    return Calibration(
        image=set_pixel_size(image, tuple(sizes)).assign_attrs(pixel_size_source="lattice"),
        pixel_size=(float(sizes[0]), float(sizes[1])),
        pixel_size_err=(float(errors[0]), float(errors[1])),
        shear_deg=shear,
        matrix=matrix,
        material=material,
        source="lattice",
        message=message,
        warnings=warnings,
    )


def _origin(image: xr.DataArray) -> Literal["header", "option"]:
    return "option" if image.attrs.get("pixel_size_source") == "option" else "header"


def _name(image: xr.DataArray) -> str:
    return str(image.attrs.get("source", "image"))


def _shear(matrix: np.ndarray) -> float:
    cosine = matrix[:, 0] @ matrix[:, 1] / np.prod(np.linalg.norm(matrix, axis=0))
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))) - 90


def _say(sizes: np.ndarray) -> str:
    if abs(sizes[0] / sizes[1] - 1) < 1e-4:
        return f"{sizes[0]:.4f} Å"
    return f"{sizes[0]:.4f} × {sizes[1]:.4f} Å (y × x)"
