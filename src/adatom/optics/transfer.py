"""Transfer of an imaging lens: from the wave behind the specimen to that of the image."""

import numpy as np
from pydantic import Field

from adatom.core.random import NotNegative, Number, Positive
from adatom.optics.aberrations import aberration_phase
from adatom.optics.microscope import Lens, electron_wavelength


class ImagingMicroscope(Lens):
    """A transmission microscope with parallel light. Every number is fixed or a range."""

    energy_eV: Positive = Field(80e3, description="Electron energy, eV.")
    focal_series: tuple[float, ...] = Field(
        (0.0,), min_length=1, description="What each image adds to the defocus, Å."
    )
    focus_error: NotNegative = Field(0.0, description="Error of each of these steps, rms, Å.")
    shift: NotNegative = Field(
        0.0, description="Largest shift of an image along an axis before all are centered, Å."
    )
    focal_spread: NotNegative = Field(0.0, description="Focal spread, 1/e half-width, Å.")
    beam_tilt: NotNegative = Field(0.0, description="Tilt of the beam against the lens, mrad.")
    beam_azimuth: Number = Field(0.0, description="Direction of the tilt, degrees.")


def image_transfer(kx: np.ndarray, ky: np.ndarray, microscope: ImagingMicroscope) -> np.ndarray:
    """Factor of each frequency of the wave on its way from the specimen to the image.

    Parameters
    ----------
    kx, ky : array
        Spatial frequencies against those of the beam, 1/Å.
    microscope : ImagingMicroscope
        All of its numbers fixed; the focal series is not looked at.

    Returns
    -------
    complex array
        exp(-i(χ(k + k_tilt) - χ(k_tilt))) times the envelope of the focal spread.

    Notes
    -----
    The envelope is exp(-(π/(2λ) Δ (θ² - θ_tilt²))²) for a focal spread of 1/e half-width Δ
    (Reimer and Kohl, Transmission Electron Microscopy, 5th ed., Springer 2008, ch. 6).
    """
    wavelength = electron_wavelength(float(microscope.energy_eV))  # type: ignore[arg-type]
    tilt = 1e-3 * float(microscope.beam_tilt) / wavelength  # type: ignore[arg-type]
    azimuth = np.deg2rad(float(microscope.beam_azimuth))  # type: ignore[arg-type]
    tilt_x, tilt_y = tilt * np.cos(azimuth), tilt * np.sin(azimuth)
    here = aberration_phase(kx + tilt_x, ky + tilt_y, microscope)
    phase = here - aberration_phase(np.array(tilt_x), np.array(tilt_y), microscope)
    square = wavelength**2 * ((kx + tilt_x) ** 2 + (ky + tilt_y) ** 2 - tilt**2)
    spread = np.pi / (2 * wavelength) * float(microscope.focal_spread) * square  # type: ignore[arg-type]
    return np.exp(-(spread**2) - 1j * phase)
