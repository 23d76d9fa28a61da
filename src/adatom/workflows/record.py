"""What a run folder says of its input, for `run.json` and the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adatom.core.runs import find_checksum

if TYPE_CHECKING:
    import xarray as xr

    from adatom.images.calibrate import Calibration
    from adatom.workflows.correct import Correction


def load_frame(image: "xr.DataArray", index: int = 0) -> "xr.DataArray":
    """A frame of a movie in memory, unless it is large; another image is its only frame.

    What is large is read part by part.
    """
    from adatom.images.formats import LAZY_BYTES

    if "frame" not in image.dims:
        return image
    frame = image.isel(frame=index)
    return frame.load() if frame.nbytes <= LAZY_BYTES else frame


def frame_number(frame: "xr.DataArray") -> int:
    """Number of a frame in its file."""
    return int(frame.coords["frame"]) if "frame" in frame.coords else 0


def describe_input(paths: Sequence[Path], item: str | None) -> dict[str, Any]:
    """The files; several are separated by semicolons."""
    return {
        "name": paths[0].name + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""),
        "path": "; ".join(str(path.absolute()) for path in paths),
        "item": item,
        "sha256": "; ".join(find_checksum(path) for path in paths),
    }


def describe_image(image: "xr.DataArray") -> dict[str, Any]:
    """Size, frames and settings of an image."""
    known = {name: image.attrs.get(name) for name in ("modality", "energy_eV", "dose", "units")}
    first = load_frame(image)
    return known | {
        "shape": [image.sizes["y"], image.sizes["x"]],
        "frames": image.sizes.get("frame", 1),
        "frame": frame_number(first),
        "focus": [float(focus) for focus in image["focus"]] if "focus" in image.dims else None,
    }


def describe_calibration(calibration: "Calibration", image: "xr.DataArray") -> dict[str, Any]:
    """Pixel size, where it came from, and the lattice it was compared with."""
    material, header = calibration.material, None
    if image.attrs.get("pixel_size_source") == "header":
        header = [float(image[name][1] - image[name][0]) for name in ("y", "x")]
    return {
        "pixel_size": calibration.pixel_size,
        "pixel_size_err": calibration.pixel_size_err,
        "shear_deg": calibration.shear_deg,
        "source": calibration.source,
        "message": calibration.message,
        "header": header,
        "material": material.name if material else None,
        "lattice": material.lattice if material else None,
        "neighbor_distance": material.neighbor_distance if material else None,
    }


def describe_microscope(found: "Correction | None") -> dict[str, Any] | None:
    """The microscope of a focal series, and what its columns explain."""
    if found is None:
        return None
    fit = found.fit
    names = ("energy_eV", "C12", "phi12", "C21", "phi21", "C23", "phi23", "C30", "focal_spread")
    return {name: float(getattr(fit.lens, name)) for name in names} | {
        "defoci": list(fit.lens.focal_series),
        "shifts": fit.shifts.tolist(),
        "blur": float(fit.camera.blur),  # type: ignore[arg-type]
        "tilt": fit.tilt,
        "contrast": fit.contrast,
        "chi_square": fit.chi_square,
        "n_data": fit.n_data,
        "wanted_focus": float(found.series["focus"][len(found.series) // 2]),
        "explained": found.explained,
        "explained_before": found.explained_before,
        "is_corrected": found.is_better,
    }
