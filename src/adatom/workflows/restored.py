"""A run folder of `adatom restore` as what atoms are found in."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adatom.core.errors import ConfigError, FileError
from adatom.core.runs import read_record

if TYPE_CHECKING:
    import xarray as xr

    from adatom.detect.atoms import View
    from adatom.optics.microscope import Microscope

LEAST_HIDDEN = 0.01  # of the image, of which a user is told
ATOM = 0.13  # Å, rms: what thermal motion and an atom's own response add to the probe

NOTE = (
    "Columns were looked for in a restored object function, which the figures show without "
    "aberrations; scores were calibrated on images as they are taken."
)
HIDDEN = (
    " Where the electrons hardly tell structure from its mean, in {:.0%} of {}, the mean is shown, "
    "in part or whole, and columns may be missed."
)


class Restored:
    """Restored frames: their electrons, and what a lens without aberrations would show.

    Parameters
    ----------
    folder : str or Path
        Run folder of `adatom restore`.

    Raises
    ------
    FileError
        If it is no such folder, or its maps cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.record: dict[str, Any] = read_record(self.folder)
        if self.record.get("task") != "restore":
            raise FileError(
                f"{folder}: must be a run folder of `adatom restore` "
                f"(got one of `adatom {self.record.get('task')}`)"
            )
        self._maps = sorted((self.folder / "maps").glob("*.zarr"))
        if len(self._maps) != self.record["summary"]["n_frames"]:
            raise FileError(f"{folder}: must hold the maps of all frames (got {len(self._maps)})")

    def check_source(self, checksum: str) -> None:
        """Refuse another image than the one that was restored.

        Parameters
        ----------
        checksum : str
            SHA-256 of the file.

        Raises
        ------
        ConfigError
            If the folder holds what was restored from another file.
        """
        source = self.record["input"]
        if checksum != source["sha256"]:
            raise ConfigError(
                f"restore: {self.folder} must hold what was restored from this image "
                f"(got that of {source['name']}, {source['sha256'][:8]})"
            )

    def read_electrons(self) -> "xr.DataArray":
        """Read the image as it was restored from.

        Returns
        -------
        DataArray
            Dims (y, x) or, lazy, (frame, y, x): electrons where the noise was found to be theirs.
        """
        import xarray as xr

        opened = [self._open(path, chunks={})["image"] for path in self._maps]
        if len(opened) == 1:
            image = opened[0].load()
        else:
            numbers = [int(path.stem) for path in self._maps]
            image = xr.concat(opened, dim="frame").assign_coords(frame=numbers)
        is_counted = self.record["summary"]["is_supported"] >= 0
        told = {name: self.record["image"][name] for name in ("modality", "energy_eV")}
        known = {name: value for name, value in told.items() if value is not None}
        return image.assign_attrs(
            known,
            units="electrons" if is_counted else "arbitrary",
            source=self.record["input"]["name"],
            pixel_size_source="header",
            note=NOTE + self._describe_hidden(),
        )

    def view(self, frame: "xr.DataArray") -> "View":
        """What the network looks at in place of a frame.

        Parameters
        ----------
        frame : DataArray
            One of `read_electrons`, perhaps with another pixel size.

        Returns
        -------
        View
            Object function and background as a lens without aberrations would show them, their mean
            where the electrons tell no structure from it, and the image of a column in the frame as
            it was taken.
        """
        from adatom.detect.atoms import View
        from adatom.detect.profile import make_profile
        from adatom.images.units import pixel_size
        from adatom.restore.imaging import show_object
        from adatom.restore.structure import hide_untold

        path = self._maps[0]
        if "frame" in frame.coords:
            path = self.folder / "maps" / f"{int(frame.frame):06d}.zarr"
        maps = self._open(path)
        sharp, smooth = (maps[name].to_numpy() for name in ("object_function", "background"))
        seen = show_object(sharp, smooth, self._ideal)
        if "structure" in maps:
            seen = hide_untold(seen, maps["structure"].to_numpy(), self._step)
        step_y, step_x = pixel_size(frame)
        image = frame.copy(data=seen.astype(np.float32))
        return View(image, make_profile(self._spot, (step_y * step_x) ** 0.5))

    def _describe_hidden(self) -> str:
        shares = [frame.get("share_structure", 1.0) for frame in self.record["summary"]["frames"]]
        hidden = 1 - float(np.mean(shares))
        if hidden < LEAST_HIDDEN:
            return ""
        return HIDDEN.format(hidden, "the image" if len(shares) == 1 else "the frames")

    @cached_property
    def _microscope(self) -> "Microscope":
        from adatom.optics.microscope import Microscope

        return Microscope.from_mapping(self.record["microscope"], source=str(self.folder))

    @cached_property
    def _step(self) -> float:
        return float(self.record["calibration"]["pixel_size"])

    @cached_property
    def _ideal(self) -> np.ndarray:
        """Image of a point by the same lens without aberrations."""
        from adatom.optics.microscope import Microscope
        from adatom.optics.probe import make_point_image
        from adatom.simulate.objects import N_PROBE

        names = ("energy_eV", "semi_angle", "source_size", "focal_spread")
        kept = {name: getattr(self._microscope, name) for name in names}
        return make_point_image(Microscope(**kept), N_PROBE, self._step)

    @cached_property
    def _spot(self) -> np.ndarray:
        """Image of a column by the lens that took it."""
        from scipy.ndimage import gaussian_filter

        from adatom.optics.probe import make_point_image
        from adatom.simulate.objects import N_PROBE

        # A probe that was fitted to columns has what they add in its source.
        is_fitted = self.record["config"]["probe"] is None
        spot = make_point_image(self._microscope, N_PROBE, self._step)
        return gaussian_filter(spot, 0 if is_fitted else ATOM / self._step)

    def _open(self, path: Path, **options: Any) -> "xr.Dataset":
        import xarray as xr

        try:
            return xr.open_zarr(path, consolidated=False, **options)
        except (OSError, KeyError, ValueError) as error:
            raise FileError(f"{path}: cannot be read ({error})") from error
