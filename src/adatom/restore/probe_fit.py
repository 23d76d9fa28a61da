"""The probe of a HAADF image from the image itself, where no tableau exists."""

from dataclasses import dataclass

import numpy as np
from pydantic import Field, field_validator

from adatom.core.config import Config
from adatom.core.errors import ConfigError, ImageError
from adatom.core.random import Draw
from adatom.core.threads import limit_blas
from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_point_image
from adatom.restore.probe_joint import JointProbe
from adatom.restore.probe_rounds import (
    FIRST_COLUMNS,
    find_covariance,
    find_starts,
    refine_probe,
)
from adatom.restore.probe_scene import make_scene
from adatom.restore.probe_shape import ProbeShape, Term

CLEAR = 9.0  # of chi-square, between the signs of the defocus


class ProbeFitConfig(Config):
    """What is fitted, and to how much of the image."""

    free: tuple[Term, ...] = Field(
        ("source_size", "defocus", "C12"),
        min_length=1,
        description="Numbers of the microscope that are fitted; the others stay as given.",
    )
    is_counts: bool = Field(
        False, description="Whether the image holds electrons, with Poisson noise."
    )
    vibration: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Root mean square displacement of the atoms along one axis, Å, beside the "
        "source size; 0 leaves it in the source size.",
    )
    most_columns: int = Field(
        150,
        ge=40,
        le=1000,
        description="Columns that the fit looks at; its time grows as their cube.",
    )
    probe_width: float = Field(12.8, ge=4, description="Width of the array of the probe, Å.")

    @field_validator("free")
    @classmethod
    def _names_each_once(cls, free: tuple[Term, ...]) -> tuple[Term, ...]:
        if len(set(free)) < len(free):
            raise ValueError("must name each number once")
        return free


DEFAULT = ProbeFitConfig()


@dataclass(frozen=True)
class ProbeFit:
    """The probe that explains an image best.

    Attributes
    ----------
    microscope : Microscope
        As given, with the fitted numbers.
    probe : (n, n) array
        Image of a point as of `make_point_image`, in pixels of the image; n is odd.
    names : tuple of str
        Free numbers: source_size, defocus; C12.x and C12.y are the parts of C12 exp(2i phi12), and
        likewise of C21 and C23.
    values : (P,) array
        Their values, Å.
    covariance : (P, P) array
        Of the values, Å².
    sign_margin : float
        By how much the chi-square of the best probe of the opposite defocus is larger. 0 where the
        sign has no meaning: defocus ≥ 0 is a choice there.
    reduced_chi_square : float
        Of the residual against Poisson noise; 1 by construction where the noise was found from it.
    residual_share : float
        Rms residual over the rms of what the columns make of the image.
    residual : (h, w) array
        Blocks of pixels of the part that was fitted minus their model, in standard deviations.
    n_columns : int
        Columns that were fitted.
    """

    microscope: Microscope
    probe: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    covariance: np.ndarray
    sign_margin: float
    reduced_chi_square: float
    residual_share: float
    residual: np.ndarray
    n_columns: int

    @property
    def errors(self) -> np.ndarray:
        """Standard error of each value, Å, (P,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def is_sign_known(self) -> bool:
        """Whether the image tells the sign of the defocus, at three standard deviations."""
        return self.sign_margin > CLEAR


def fit_probe(
    image: np.ndarray,
    pixel_size: float,
    positions: np.ndarray,
    microscope: Microscope,
    *,
    config: ProbeFitConfig = DEFAULT,
) -> ProbeFit:
    """Fit the probe of a HAADF image to the shape of its columns.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel, or gray levels that are linear in them, indexed [y, x].
    pixel_size : float
        Å per pixel.
    positions : (N, 2) array
        Columns [y, x], Å from the middle of pixel [0, 0], as `find_atoms` gives them. They are
        fitted again; columns that are missing here spoil the fit.
    microscope : Microscope
        What is known: energy and semi-angle, which are taken as true, and all that is not free.
        Free numbers start here, and at several other defoci.
    config : ProbeFitConfig
        What is fitted, and to how much of the image.

    Returns
    -------
    ProbeFit
        The microscope with the fitted numbers, its probe, and their covariance. Of a large image
        only the square with most columns is used, `most_columns` with the margin of 3 Å around it.

    Raises
    ------
    ImageError
        If the image is not finite, has negative counts or pixels too coarse for the aperture, or
        holds fewer than 20 columns that stand 3 Å inside.
    ConfigError
        If the pixel size is not above 0, or the microscope has ranges.

    Notes
    -----
    Image = Σ w_j P(r - r_j) + background, P the probe blurred by `vibration`; a background linear
    between nodes 8 Å apart. Weighted least squares in which strengths and background are solved at
    every step (variable projection: G. Golub and V. Pereyra, SIAM J. Numer. Anal. 10 (1973) 413),
    positions to first order about those of the last round. Probes are centered at their center of
    mass, so that coma does not move the columns.

    Positions that are fitted to noise make the columns look sharper by the variance of a position;
    the model is sharpened as much (the bias of J. Neyman and E. Scott, Econometrica 16 (1948) 1).

    Errors: the inverse Fisher matrix, widened where the spectrum of the residual exceeds that of
    white noise (noise of filters and scan, wrong model). Against simulated truth they are too small
    by a third, and by a factor of 2 where columns overlap so much that strengths and positions are
    poorly known (docs/restoration.md).

    Without other aberrations of odd order (C30, C32, C34, …) the opposite of defocus and C12
    together gives the same probe, whatever coma and three-fold astigmatism are: defocus ≥ 0 is
    returned. In focus the probe depends on the square of the defocus: there the error is the
    defocus that the image tells from none, and the azimuth of C12 is known up to 90°.
    """
    _check(image, pixel_size, positions, microscope, config)
    shape = ProbeShape(microscope, config.free, config.vibration)
    limit = 1 / (4 * shape.cutoff)
    if pixel_size > limit:
        raise ImageError(
            f"pixel_size: must be at most λ/(4α) = {limit:.3f} Å for an aperture of "
            f"{microscope.semi_angle:g} mrad at {microscope.energy_eV:g} eV (got {pixel_size:g})"
        )
    with limit_blas():
        few = min(FIRST_COLUMNS, config.most_columns)
        part = make_scene(image, pixel_size, positions, shape.cutoff, few)
        starts = find_starts(part, shape, config.is_counts)
        scene = make_scene(image, pixel_size, positions, shape.cutoff, config.most_columns)
        fits = [refine_probe(scene, shape, start, config.is_counts) for start in starts]
        fits.sort(key=lambda fit: fit[2])
        fit, vector, cost = fits[0]
        margin = fits[1][2] - cost if len(fits) > 1 else 0.0
        return _report(fit, vector, pixel_size, margin, config)


def _check(
    image: np.ndarray,
    pixel_size: float,
    positions: np.ndarray,
    microscope: Microscope,
    config: ProbeFitConfig,
) -> None:
    if image.ndim != 2 or not np.isfinite(image).all():
        raise ImageError(f"image: must be finite, with axes y, x (got shape {image.shape})")
    if config.is_counts and image.min(initial=0) < 0:
        raise ImageError(f"image: counts must not be negative (got {float(image.min()):.4g})")
    if not 0 < pixel_size < np.inf:
        raise ConfigError(f"pixel_size: must be a number above 0 (got {pixel_size})")
    if np.ndim(positions) != 2 or np.shape(positions)[1] != 2 or not np.isfinite(positions).all():
        raise ImageError(
            f"positions: must be finite, one row [y, x] a column (got shape {np.shape(positions)})"
        )
    drawn = [name for name, value in microscope if isinstance(value, Draw)]
    if drawn:
        raise ConfigError(f"microscope: all of its numbers must be fixed (got ranges for {drawn})")


def _report(
    fit: JointProbe,
    vector: np.ndarray,
    pixel_size: float,
    margin: float,
    config: ProbeFitConfig,
) -> ProbeFit:
    """What the user gets of the last fit."""
    shape = fit.shape
    microscope = shape.set(vector)
    values, covariance = vector.copy(), find_covariance(fit, vector)
    if "source_size" in shape.names:
        at = shape.names.index("source_size")
        values[at] = np.sqrt(vector[at])
        # One standard deviation upward: at 0 the derivative of the root has no meaning.
        error = np.sqrt(covariance[at, at])
        slope = (np.sqrt(vector[at] + error) - values[at]) / error
        covariance[at] *= slope
        covariance[:, at] *= slope
    n_pixels = 2 * round(config.probe_width / pixel_size / 2) + 1
    model = fit.model()
    left = fit.scene.values - model
    return ProbeFit(
        microscope=microscope,
        probe=make_point_image(microscope, n_pixels, pixel_size),
        names=shape.names,
        values=values,
        covariance=covariance,
        sign_margin=margin,
        reduced_chi_square=fit.reduced_chi_square(),
        residual_share=float(np.sqrt(np.mean(left**2)) / model.std()),
        residual=left * fit.scale,
        n_columns=len(fit.scene.positions),
    )
