"""Transfer of an imaging lens against abTEM and against the formulas of a tilted beam."""

import numpy as np
import pytest

from adatom.optics.microscope import electron_wavelength
from adatom.optics.transfer import ImagingMicroscope, image_transfer

ENERGY = 80e3
WAVELENGTH = electron_wavelength(ENERGY)
K = np.linspace(-1.2, 1.2, 49)


def test_transfer_is_abtems():
    import abtem

    aberrations = {"C12": 40.0, "phi12": 0.3, "C21": 500.0, "phi21": 1.0, "C30": -1e5}
    theirs = abtem.CTF(
        energy=ENERGY, focal_spread=35.0, defocus=60.0, aberration_coefficients=aberrations
    )
    fields = {k: np.rad2deg(v) if k.startswith("phi") else v for k, v in aberrations.items()}
    ours = ImagingMicroscope(energy_eV=ENERGY, focal_spread=35, defocus=60, **fields)
    kx, ky = np.meshgrid(K, K)
    known = theirs._evaluate_from_angular_grid(WAVELENGTH * np.hypot(kx, ky), np.arctan2(ky, kx))
    np.testing.assert_allclose(image_transfer(kx, ky, ours), known, atol=1e-4)


@pytest.mark.parametrize("azimuth", [0, 70])
def test_a_tilted_beam_sees_more_defocus_and_astigmatism(azimuth):
    """C1' = C1 + 2 C3 t², A1' = A1 + C3 t² (Zemlin et al., Ultramicroscopy 3 (1978) 49)."""
    tilt, c30 = 8e-3, 2e6
    tilted = ImagingMicroscope(
        energy_eV=ENERGY, C30=c30, beam_tilt=1e3 * tilt, beam_azimuth=azimuth
    )
    same = ImagingMicroscope(
        energy_eV=ENERGY, C30=c30, defocus=-2 * c30 * tilt**2, C12=c30 * tilt**2, phi12=azimuth
    )
    k = 0.05 * np.exp(1j * np.linspace(0, 2 * np.pi, 17))
    # Even terms only: the odd ones shift the image.
    even = [
        np.angle(image_transfer(k.real, k.imag, scope) * image_transfer(-k.real, -k.imag, scope))
        for scope in (tilted, same)
    ]
    np.testing.assert_allclose(even[0], even[1], atol=0.01 * np.abs(even[1]).max())


def test_the_beam_itself_passes_unchanged():
    scope = ImagingMicroscope(energy_eV=ENERGY, C30=1e6, beam_tilt=5, focal_spread=40)
    assert image_transfer(np.zeros(1), np.zeros(1), scope)[0] == pytest.approx(1)
