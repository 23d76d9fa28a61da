"""Rounds of fits that lead to the probe of an image."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage, optimize

from adatom.detect.fit import Noise
from adatom.restore.probe_joint import JointProbe
from adatom.restore.probe_scene import Scene
from adatom.restore.probe_shape import ProbeShape

DARKEST = 0.02  # of the mean: the least that is expected of a pixel, for its noise
FIRST_FOCI, FIRST_SOURCE = (1.5, 5.0), 0.9  # starts: rad at the rim of the aperture; Å
FIRST_COLUMNS, FIRST_STEPS = 100, 12  # of the fits from all starts
MOST_ROUNDS, ROUND_STEPS = 8, 10  # of the last fit: new noise and positions; steps between
SETTLED = 0.2  # errors that a round moves the probe, which ends them


def find_starts(scene: Scene, shape: ProbeShape, is_counts: bool) -> list[np.ndarray]:
    """Find the best probe for each sign of the defocus, roughly.

    Parameters
    ----------
    scene : Scene
        A small part of the image.
    shape : ProbeShape
        What is free.
    is_counts : bool
        Whether the noise is Poisson's.

    Returns
    -------
    list of (P,) array
        Free numbers; one entry where the sign of the defocus has no meaning.
    """
    noise = _guess_noise(scene, is_counts)
    scale = 1 / np.sqrt(noise.variance(ndimage.gaussian_filter(scene.values, 1.0)))
    best: dict[bool, tuple[float, np.ndarray]] = {}
    for start in _list_starts(shape):
        if not best:
            # Positions are better known after a first fit, whatever the probe.
            first = JointProbe(scene, shape, scale, moves=True)
            first.improve(start, ROUND_STEPS)
            scene = first.take()
        joint = JointProbe(scene, shape, scale, moves=False)
        vector, cost, _ = joint.improve(start, FIRST_STEPS)
        side = float(shape.set(vector).defocus) < 0  # type: ignore[arg-type]
        if side not in best or cost < best[side][0]:
            best[side] = cost, vector
    return [vector for _, vector in best.values()]


def _list_starts(shape: ProbeShape) -> Iterator[np.ndarray]:
    """The microscope as it is given, and with several defoci."""
    given, names = shape.read(), shape.names
    if "source_size" in names and given[names.index("source_size")] == 0:
        given[names.index("source_size")] = FIRST_SOURCE**2
    yield given
    if "defocus" in names:
        at = names.index("defocus")
        for focus in FIRST_FOCI:
            for sign in (1,) if shape.is_mirrored else (1, -1):
                start = given.copy()
                start[at] = sign * focus * shape.scales[at]
                yield start


def _guess_noise(scene: Scene, is_counts: bool) -> Noise:
    """Variance of a block before any fit."""
    if is_counts:
        mean = float(np.abs(scene.values).mean())
        return Noise(0.0, scene.n_summed**-2, DARKEST * mean)
    # Second differences along both axes leave little but noise.
    rough = ndimage.convolve(scene.values, np.outer([1, -2, 1], [1, -2, 1]))[1:-1, 1:-1]
    least = 1e-10 * float(np.mean(scene.values**2)) + 1e-300
    return Noise(max(float(np.mean(rough**2)) / 36, least), 0.0)


def _fit_noise(values: np.ndarray, model: np.ndarray) -> Noise:
    """Variance of a block as a linear function of what is expected, from the residual."""
    square, lowest = ((values - model) ** 2).ravel(), float(model.min())
    design = np.stack([np.ones(model.size), model.ravel() - lowest], axis=1)
    weight = 1.0
    for _ in range(3):
        (constant, slope), _ = optimize.nnls((design.T * weight).T, square * weight)
        fitted = design @ [constant, slope]
        weight = 1 / np.maximum(fitted, 0.1 * fitted.mean() + 1e-300)
    least = 1e-10 * float(np.mean(values**2)) + 1e-300
    return Noise(float(max(constant, least) - slope * lowest), float(slope), lowest)


def refine_probe(
    scene: Scene, shape: ProbeShape, vector: np.ndarray, is_counts: bool
) -> tuple[JointProbe, np.ndarray, float]:
    """Fit probe and columns from a start, in rounds of new positions and noise.

    Parameters
    ----------
    scene, shape, is_counts
        As of `find_starts`.
    vector : (P,) array
        The start.

    Returns
    -------
    JointProbe, (P,) array, float
        The last fit, its free numbers, and its chi-square.
    """
    noise, model = _guess_noise(scene, is_counts), ndimage.gaussian_filter(scene.values, 1.0)
    for _ in range(MOST_ROUNDS):
        joint = JointProbe(scene, shape, 1 / np.sqrt(noise.variance(model)), moves=True)
        vector, cost, moved = joint.improve(vector, ROUND_STEPS)
        if moved < SETTLED:
            break
        scene, model = joint.take(), joint.model()
        shape = replace(shape, scatter=joint.scatter())
        if not is_counts:
            noise = _fit_noise(scene.values, model)
    return joint, vector, cost


def find_covariance(fit: JointProbe, vector: np.ndarray) -> np.ndarray:
    """Covariance of the free numbers, also where derivatives vanish.

    Parameters
    ----------
    fit : JointProbe
        The last fit.
    vector : (P,) array
        Its free numbers.

    Returns
    -------
    (P, P) array
        Å², and Å⁴ of the square of the source size.
    """
    shape, covariance = fit.shape, fit.covariance(vector)
    if not (shape.is_mirrored and "defocus" in shape.names):
        return covariance
    # In focus the probe changes with the square of the defocus alone: what counts is the change at
    # a defocus that the image tells from none.
    at = shape.names.index("defocus")
    there = vector.copy()
    if np.sqrt(covariance[at, at]) > vector[at]:
        there[at] = max(vector[at], 0.1 * shape.scales[at])
        for _ in range(3):
            error = np.sqrt(fit.covariance(there)[at, at])
            there[at] = np.sqrt(there[at] * error)
        covariance = fit.covariance(there)
    return covariance
