"""HRTEM images: from exit waves through lens and camera to electrons."""

import numpy as np
import xarray as xr
from pydantic import Field
from scipy import fft

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.random import Draw, NotNegative, Positive, Share, draw_value, make_rng
from adatom.optics.transfer import ImagingMicroscope, image_transfer
from adatom.simulate.waves import ExitWave, resize_spectrum


class Camera(Config):
    """A camera. Every number is fixed or a range."""

    pixel_size: Positive = Field(0.12, description="Å per pixel.")
    dose: Positive = Field(1e4, description="Electrons per area and image, e/Å².")
    blur: NotNegative = Field(0.0, description="Vibration of specimen and image, rms, Å.")
    mtf_floor: Share = Field(0.0, description="MTF at high frequencies (c1).")
    mtf_frequency: Positive = Field(0.5, description="Half the frequency of its half (c2), 1/Å.")
    mtf_power: Positive = Field(2.5, description="How steeply it falls (c3).")
    is_counting: bool = Field(
        False, description="Counts electrons: noise after the MTF. A scintillator blurs it too."
    )
    read_noise: NotNegative = Field(0.0, description="Read noise, rms, electrons per pixel.")

    def draw(self, rng: np.random.Generator) -> "Camera":
        """Camera whose ranges are replaced by numbers drawn from them."""
        drawn = {k: draw_value(v, rng) for k, v in self if isinstance(v, Draw)}
        return self.model_copy(update=drawn)

    def transfer(self, k: np.ndarray) -> np.ndarray:
        """MTF at frequencies k, 1/Å: (1 - c1)/(1 + (k/2c2)^c3) + c1."""
        floor, frequency, power = (
            float(value)  # type: ignore[arg-type]
            for value in (self.mtf_floor, self.mtf_frequency, self.mtf_power)
        )
        return (1 - floor) / (1 + (k / (2 * frequency)) ** power) + floor


def simulate_focal_series(
    wave: ExitWave,
    microscope: ImagingMicroscope,
    camera: Camera,
    rng: np.random.Generator | int,
) -> xr.DataArray:
    """Simulate a focal series.

    Parameters
    ----------
    wave : ExitWave
        Behind the specimen.
    microscope : ImagingMicroscope
        Ranges are drawn from.
    camera : Camera
        Ranges are drawn from.
    rng : Generator or int
        For the ranges, the errors of the focus, the shifts and the noise.

    Returns
    -------
    DataArray
        Dims (focus, y, x), electrons per pixel; `focus` holds the defocus of each image as it is
        meant, Å, y and x are in Å. The attributes `microscope` and `camera` hold what was drawn,
        `defoci` and `shifts` (y, x; Å) what each image really has.
    """
    rng = make_rng(rng)
    microscope, camera = microscope.draw(rng), camera.draw(rng)
    defoci, shifts = draw_steps(microscope, rng)
    intensities = form_images(wave, microscope, defoci, shifts)
    images, pixel_sizes = record_images(intensities, wave.grid.length, camera, rng)
    sides = zip(("y", "x"), images.shape[1:], pixel_sizes, strict=True)
    coords = {name: (name, np.arange(n) * size, {"units": "angstrom"}) for name, n, size in sides}
    meant = np.array(microscope.focal_series) + float(microscope.defocus)  # type: ignore[arg-type]
    return xr.DataArray(
        images,
        dims=("focus", "y", "x"),
        coords={"focus": ("focus", meant, {"units": "angstrom"}), **coords},
        attrs={
            "modality": "HRTEM",
            "energy_eV": float(microscope.energy_eV),  # type: ignore[arg-type]
            "dose": float(camera.dose),  # type: ignore[arg-type]
            "units": "electrons",
            "microscope": microscope.model_dump(mode="json"),
            "camera": camera.model_dump(mode="json"),
            "defoci": defoci.tolist(),
            "shifts": shifts.tolist(),
        },
    )


def draw_steps(
    microscope: ImagingMicroscope, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw where a microscope really focuses in a series, and how the images move.

    Parameters
    ----------
    microscope : ImagingMicroscope
        All of its numbers fixed.
    rng : Generator
        For the errors of the focus, and the shifts.

    Returns
    -------
    defoci : (F,) array
        Defocus of each image, Å.
    shifts : (F, 2) array
        Shift of each image along y and x, Å.
    """
    steps = np.array(microscope.focal_series)
    shifts = float(microscope.shift) * rng.uniform(-1, 1, (len(steps), 2))  # type: ignore[arg-type]
    shifts -= shifts.mean(axis=0)  # a shift of all is none that could be seen
    errors = float(microscope.focus_error) * rng.standard_normal(len(steps))  # type: ignore[arg-type]
    return float(microscope.defocus) + steps + errors, shifts  # type: ignore[arg-type]


def form_images(
    wave: ExitWave, microscope: ImagingMicroscope, defoci: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """Intensity of each image of a focal series, before the camera.

    Parameters
    ----------
    wave : ExitWave
        Behind the specimen.
    microscope : ImagingMicroscope
        All of its numbers fixed; its energy must be that of the wave.
    defoci, shifts : (F,), (F, 2) arrays
        Of `draw_steps`, Å.

    Returns
    -------
    (F, H, W) float32 array
        Relative to the beam, on the grid of the wave.

    Raises
    ------
    ConfigError
        If the energies differ.
    """
    if wave.energy_eV != microscope.energy_eV:
        raise ConfigError(
            f"microscope: energy_eV must be that of the wave, {wave.energy_eV:g} "
            f"(got {microscope.energy_eV:g})"
        )
    rows, columns = np.nonzero(wave.spectrum)
    ky, kx = (k[at] for k, at in zip(wave.grid.frequencies(), (rows, columns), strict=True))
    scattered = wave.spectrum[rows, columns]
    images = []
    for defocus, (shift_y, shift_x) in zip(defoci, shifts, strict=True):
        lens = microscope.model_copy(update={"defocus": float(defocus)})
        transfer = image_transfer(kx, ky, lens)
        turn = np.exp(-2j * np.pi * (shift_y * ky + shift_x * kx))
        spectrum = np.zeros_like(wave.spectrum)
        spectrum[rows, columns] = scattered * transfer * turn
        amplitude = fft.ifft2(spectrum, norm="forward")
        images.append(amplitude.real**2 + amplitude.imag**2)
    return np.array(images, np.float32)


def record_images(
    intensities: np.ndarray,
    length: tuple[float, float],
    camera: Camera,
    rng: np.random.Generator,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Electrons that a camera counts.

    Parameters
    ----------
    intensities : (F, H, W) array
        Relative to the beam.
    length : (float, float)
        Height and width of the images, Å.
    camera : Camera
        All of its numbers fixed.
    rng : Generator
        For the noise.

    Returns
    -------
    (F, H', W') float32 array, (float, float)
        Electrons per pixel, and the pixel size along y and x, Å: that of the camera but for
        the rounding to whole pixels.
    """
    expected, sizes = expect_electrons(intensities, length, camera)
    seen = camera.transfer(_find_frequencies(expected.shape[1:], sizes)).astype(np.float32)
    images = []
    for electrons in expected:
        counts = rng.poisson(np.maximum(electrons, 0)).astype(np.float32)
        if not camera.is_counting:
            counts = fft.irfft2(fft.rfft2(counts) * seen, s=counts.shape)
        noise = float(camera.read_noise)  # type: ignore[arg-type]
        if noise > 0:
            counts += noise * rng.standard_normal(counts.shape, np.float32)
        images.append(counts)
    return np.array(images, np.float32), sizes


def expect_electrons(
    intensities: np.ndarray,
    length: tuple[float, float],
    camera: Camera,
    *,
    shape: tuple[int, int] | None = None,
) -> tuple[np.ndarray, tuple[float, float]]:
    """Electrons that are counted on average: Poisson's noise is that of these numbers.

    Parameters
    ----------
    intensities, length, camera
        As of `record_images`.
    shape : (int, int), optional
        Height and width in pixels; as the camera's pixel size has it if left out.

    Returns
    -------
    (F, H', W') float32 array, (float, float)
        Electrons per pixel, those of a scintillator before it blurs them; and the pixel size.
    """
    wanted = float(camera.pixel_size)  # type: ignore[arg-type]
    if shape is None:
        shape = (max(1, round(length[0] / wanted)), max(1, round(length[1] / wanted)))
    sizes = (length[0] / shape[0], length[1] / shape[1])
    k = _find_frequencies(shape, sizes)
    factor = np.exp(-2 * (np.pi * float(camera.blur) * k) ** 2)  # type: ignore[arg-type]
    factor *= float(camera.dose) * sizes[0] * sizes[1]  # type: ignore[arg-type]
    if camera.is_counting:
        factor *= camera.transfer(k)
    factor = factor.astype(np.float32)  # rounding is a thousandth of the noise at most
    expected = []
    for intensity in intensities:
        spectrum = resize_spectrum(fft.fft2(np.float32(intensity), norm="forward"), shape)
        expected.append(fft.irfft2(spectrum[:, : k.shape[1]] * factor, s=shape, norm="forward"))
    return np.array(expected), sizes


def _find_frequencies(shape: tuple[int, ...], sizes: tuple[float, float]) -> np.ndarray:
    """Frequencies of a real transform, 1/Å."""
    ky = np.fft.fftfreq(shape[0], sizes[0])[:, None]
    return np.hypot(ky, np.fft.rfftfreq(shape[1], sizes[1]))
