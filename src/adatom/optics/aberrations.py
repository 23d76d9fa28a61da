"""The aberration function of a lens, to fifth order."""

import re

import numpy as np

from adatom.optics.microscope import Lens, electron_wavelength

# Order n and symmetry m of each coefficient C_nm; C10 is the negative defocus.
COEFFICIENTS = {
    name: (int(name[1]), int(name[2])) for name in Lens.model_fields if re.fullmatch(r"C\d\d", name)
}


def aberration_phase(kx: np.ndarray, ky: np.ndarray, lens: Lens) -> np.ndarray:
    """Phase χ that a lens adds at every spatial frequency.

    Parameters
    ----------
    kx, ky : array
        Spatial frequencies, 1/Å.
    lens : Lens
        Its energy and aberrations, all of them numbers.

    Returns
    -------
    array
        χ in rad; the wave behind the lens carries exp(-iχ).

    Notes
    -----
    W = Σ θ^(n+1)/(n+1) C_nm cos(m(φ - φ_nm)), χ = 2πW/λ, C10 = -defocus (Krivanek, Dellby and
    Lupini, Ultramicroscopy 78 (1999) 1). Cosine and power are real and imaginary parts of powers of
    w = θ exp(iφ), which need no angle.
    """
    given = {name: float(getattr(lens, name)) for name in COEFFICIENTS}
    wavelength = electron_wavelength(float(lens.energy_eV))  # type: ignore[arg-type]
    w = wavelength * (np.asarray(kx) + 1j * np.asarray(ky))
    square = np.abs(w) ** 2
    path = square / 2 * -float(lens.defocus)  # type: ignore[arg-type]
    for name, (order, symmetry) in COEFFICIENTS.items():
        if given[name]:
            turn = symmetry * np.deg2rad(float(getattr(lens, f"phi{name[1:]}", 0.0)))
            direction = (w**symmetry * np.exp(-1j * turn)).real
            path = (
                path
                + given[name] / (order + 1) * square ** ((order + 1 - symmetry) // 2) * direction
            )
    return 2 * np.pi / wavelength * path
