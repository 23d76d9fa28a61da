"""Movies of particles that restructure, drift and turn."""

import numpy as np
from pydantic import Field

from adatom.core.config import Config
from adatom.core.errors import ConfigError
from adatom.core.random import draw_value, make_rng
from adatom.simulate.drawing import choose_kind
from adatom.simulate.recipe import HrtemRecipe
from adatom.simulate.specimen import ParticleConfig, box_side, draw_film, lay_on_film
from adatom.simulate.wave_set import StoredWave, store_wave
from adatom.structures.particles import make_particle
from adatom.structures.restructure import move_surface_atoms


class MotionConfig(Config):
    """What happens between two frames."""

    n_hops: int = Field(4, ge=0, description="Surface atoms that hop to other sites.")
    drift: float = Field(0.3, ge=0, description="Shift of the particle along an axis, rms, Å.")
    turn: float = Field(0.5, ge=0, description="Turn of the particle about the beam, rms, degrees.")


DEFAULT = MotionConfig()


def simulate_movie(
    recipe: HrtemRecipe,
    n_frames: int,
    rng: np.random.Generator | int,
    *,
    motion: MotionConfig = DEFAULT,
) -> list[StoredWave]:
    """Simulate the waves behind a particle that restructures on its film, inside the image.

    Parameters
    ----------
    recipe : HrtemRecipe
        Of particles; ranges are drawn once.
    n_frames : int
        Waves.
    rng : Generator or int
        Draws everything.
    motion : MotionConfig
        What happens between two frames.

    Returns
    -------
    list of StoredWave
        One for each frame, for `take_series`; the truth of each is where its columns are.

    Raises
    ------
    ConfigError
        If another structure than a particle is drawn, or the particle is too small to move.
    """
    rng, size = make_rng(rng), recipe.dataset.size
    config = choose_kind(recipe.structure, rng)
    if not isinstance(config, ParticleConfig):
        raise ConfigError(f"structure: must be particles to move (got {config.kind})")
    energy = float(draw_value(recipe.microscope.energy_eV, rng))
    radius, tilt = float(draw_value(config.radius, rng)), float(draw_value(config.tilt, rng))
    particle = make_particle(config.element, radius, rng, tilt=tilt)
    film = draw_film(config, size, rng)
    vibration = float(draw_value(config.vibration, rng))
    middle, free = box_side(size) / 2, max(size / 2 - radius, 0.0)
    shift, turn, waves = np.zeros(2), 0.0, []
    for frame in range(n_frames):
        if frame:
            particle = move_surface_atoms(particle, motion.n_hops, rng)
            shift = np.clip(shift + motion.drift * rng.standard_normal(2), -free, free)
            turn += motion.turn * rng.standard_normal()
        placed = particle.copy()
        placed.rotate(turn, "z")
        placed.positions[:, :2] += middle + shift
        specimen = lay_on_film(placed, film, vibration, size)
        waves.append(store_wave(specimen, energy, recipe))
    return waves
