import numpy as np
import pytest
from scipy import signal

from adatom.optics.microscope import Microscope
from adatom.optics.probe import make_probe

PIXEL = 0.2  # Å


def make_blurred_probe(n_pixels: int = 33, **changes: float) -> np.ndarray:
    settings = {"energy_eV": 60e3, "semi_angle": 30, "defocus": 50, "C12": 15, "phi12": 30}
    probe = np.maximum(make_probe(Microscope(**(settings | changes)), n_pixels, PIXEL), 0)
    return probe / probe.sum()


@pytest.fixture(scope="session")
def probe():
    return make_blurred_probe()


class Scene:
    """Atoms on a lattice, some missing, on a field larger than the image by a margin."""

    MARGIN = 32

    def __init__(self, side: int = 64, electrons: float = 300.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        width = side + 2 * self.MARGIN
        steps = np.arange(4, width - 4, 9.3)
        places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
        places = places + rng.uniform(-1, 1, places.shape)
        heights = electrons * rng.choice([1.0, 0.5, 0.0], len(places), p=[0.5, 0.4, 0.1])
        axis = np.arange(width)
        shape = np.exp(-((axis - places[:, :, None]) ** 2) / (2 * 0.8**2))
        shape /= shape.sum(axis=-1, keepdims=True)
        self.whole = np.einsum("n,ny,nx->yx", heights, shape[:, 1], shape[:, 0])
        self.inner = (slice(self.MARGIN, -self.MARGIN),) * 2

    @property
    def truth(self) -> np.ndarray:
        return self.whole[self.inner]

    def expect(self, probe: np.ndarray, background: float = 0.0) -> np.ndarray:
        return signal.fftconvolve(self.whole, probe, mode="same")[self.inner] + background
