"""Object functions of HAADF images: by a network, or by classical methods."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import xarray as xr

from adatom.core.errors import ConfigError, ImageError
from adatom.images.units import pixel_size
from adatom.networks.restorer import Restorer
from adatom.optics.microscope import Microscope, find_band_limit
from adatom.optics.probe import make_point_image
from adatom.restore.classical import (
    restore_richardson_lucy,
    restore_total_variation,
    restore_wiener,
)
from adatom.restore.electrons import RESTORE, Gain, RestoreConfig, fit_gain
from adatom.restore.imaging import Restoration, check_image_and_probe
from adatom.restore.poisson_fit import fit_electrons
from adatom.restore.structure import TOLD, weigh_structure
from adatom.restore.support import SupportConfig, judge_support, split_band
from adatom.simulate.objects import COARSEST, N_PROBE

FINEST = 0.09  # Å: pixels below are added up in blocks
BLOCK = 0.2  # Å: largest pixel that blocks make
RIM = 16  # pixels by which an image goes on by reflection
LARGEST_TILE = 512  # pixels that a tile has of its own
OVERLAP = 32  # pixels that it sees of the next


def restore_image(
    image: xr.DataArray,
    microscope: Microscope,
    *,
    restorer: Restorer | None = None,
    others: Sequence[Microscope] = (),
    config: RestoreConfig = RESTORE,
    rng: np.random.Generator | int = 0,
) -> xr.Dataset:
    """Restore the object function behind a HAADF image.

    Parameters
    ----------
    image : DataArray
        Dims (y, x), coordinates in Å.
    microscope : Microscope
        That took it; all of its numbers fixed.
    restorer : Restorer, optional
        Needed for `deepstem`.
    others : sequence of Microscope
        Drawn from what is not known of it: how results by these differ becomes an error.
    config : RestoreConfig
        Method and detector.
    rng : Generator or int
        For the electrons that Richardson-Lucy holds out.

    Returns
    -------
    Dataset
        Over (y, x), electrons per pixel: `object_function`, `background`, `reconvolved` (what the
        image should be), `image` (in electrons), `residual` (image less that, in standard
        deviations), `beyond` (the part of the object function that no image holds), with `others`
        `object_function_err`. Attributes: `gain`, `offset`, `reduced_chi_square`, `is_supported`
        (1, 0, or -1 where the noise is not that of electrons), `share_beyond`, `cutoff` (1/Å). By
        `deepstem` and from electrons also `structure` (how they tell columns from their mean:
        `weigh_structure`) and `share_structure` (of the image, where they do).

    Raises
    ------
    ImageError
        If it is no single image of square pixels with a known size, finer than the band limit asks
        for, or its gain cannot be found.
    ConfigError
        If the method needs a restorer.

    Notes
    -----
    Pixels below 0.09 Å are added up in blocks of up to 0.2 Å.
    """
    if config.method == "deepstem" and restorer is None:
        raise ConfigError("restorer: must be given for the method deepstem (got None)")
    counts, step, gain = count_electrons(image, microscope, config=config)
    spot = make_point_image(microscope, N_PROBE, step)
    found = _restore(counts, spot, restorer, config, rng)
    cutoff = find_band_limit(microscope)
    band = split_band(found.object_function, step, cutoff)
    support = judge_support(
        counts, found.reconvolved, spot, config=SupportConfig(read_noise=config.read_noise)
    )
    maps = {
        "object_function": found.object_function,
        "background": np.broadcast_to(found.background, counts.shape),
        "reconvolved": found.reconvolved,
        "image": counts,
        "residual": support.residual,
        "beyond": band.beyond,
    }
    if others:
        spots = (make_point_image(other, N_PROBE, step) for other in others)
        drawn = [_restore(counts, each, restorer, config, rng).object_function for each in spots]
        maps["object_function_err"] = np.std(drawn, axis=0, ddof=1 if len(drawn) > 1 else 0)
    is_known, told = gain.is_poisson and gain.is_white, {}
    if is_known and config.method == "deepstem":
        maps["structure"] = weigh_structure(
            counts, found.reconvolved, maps["background"], step, read_noise=config.read_noise
        )
        told["share_structure"] = float(np.mean(maps["structure"] > TOLD))
    return _to_dataset(maps, image, step).assign_attrs(
        method=config.method,
        gain=gain.gain,
        offset=gain.offset,
        reduced_chi_square=support.reduced_chi_square,
        is_supported=int(support.is_supported) if is_known else -1,
        share_beyond=band.share_beyond,
        cutoff=cutoff,
        energy_eV=float(microscope.energy_eV),  # type: ignore[arg-type]
        **told,
    )


def count_electrons(
    image: xr.DataArray, microscope: Microscope, *, config: RestoreConfig = RESTORE
) -> tuple[np.ndarray, float, Gain]:
    """Electrons of an image, in pixels of the size that a network takes.

    Parameters
    ----------
    image : DataArray
        Dims (y, x), coordinates in Å. With `units` "electrons" among its attributes it is taken as
        it is; else the gain is that of the configuration, or found by `fit_gain`.
    microscope : Microscope
        That took it.
    config : RestoreConfig
        Detector.

    Returns
    -------
    (H, W) array
        Electrons per pixel.
    float
        Å per pixel.
    Gain
        What was found.

    Raises
    ------
    ImageError
        As of `restore_image`.
    """
    if image.dims != ("y", "x"):
        raise ImageError(f"image: must be a single one, with dims (y, x) (got {image.dims})")
    step_y, step_x = pixel_size(image)
    if abs(step_y / step_x - 1) > 0.01:
        raise ImageError(f"image: pixels must be square (got {step_y:.4g} × {step_x:.4g} Å)")
    step, cutoff = float((step_y * step_x) ** 0.5), find_band_limit(microscope)
    if step * cutoff > 0.5:
        raise ImageError(
            f"image: pixels must be at most {0.5 / cutoff:.3g} Å for the band limit 2α/λ of "
            f"{cutoff:.3g} 1/Å (got {step:.4g})"
        )
    values = image.to_numpy()
    if not np.isfinite(values).all():
        raise ImageError("image: must be finite (got pixels that are not)")
    if config.gain is not None:
        gain = Gain(config.gain, config.offset, True, True)
    elif image.attrs.get("units") == "electrons":
        gain = Gain(1.0, 0.0, True, True)
    else:
        gain = fit_gain(values, step, cutoff)
    return *_add_blocks(gain.count(values), step, cutoff), gain


def restore_by_network(
    image: np.ndarray, probe: np.ndarray, restorer: Restorer, *, read_noise: float = 0.0
) -> Restoration:
    """Restore an object function: by DeepSTEM, and from there by steps of the Poisson likelihood.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel.
    probe : (P, P) array
        Image of a point as of `make_point_image`, P odd.
    restorer : Restorer
        The network.
    read_noise : float
        Of a pixel, rms, electrons.

    Returns
    -------
    Restoration
        With a background of every pixel. The object function is seen at the resolution of the
        probe: an atom is a Gaussian (`networks.deepstem`).

    Raises
    ------
    ImageError
        If image or probe are not what they must be.
    """
    check_image_and_probe(image, probe)
    if probe.shape[0] != probe.shape[1] or probe.shape[0] % 2 == 0:
        raise ImageError(f"probe: must be a square of odd side (got shape {probe.shape})")
    rim, least = RIM, max(probe.shape[0] // 2, RIM) + 1  # what is reflected at a border
    if min(image.shape) < least:
        raise ImageError(f"image: must have {least} pixels at least (got shape {image.shape})")
    padded = np.pad(np.asarray(image, np.float32), rim, mode="reflect")
    total = np.zeros((2, *padded.shape), np.float32)
    weights = np.zeros(padded.shape, np.float32)
    spot = torch.from_numpy(np.asarray(probe, np.float32))[None]
    noise = torch.tensor([read_noise])
    for rows in _cut(padded.shape[0], restorer.network.step):
        for columns in _cut(padded.shape[1], restorer.network.step):
            part = padded[rows, columns]
            weight = np.outer(*(_fade(n) for n in part.shape)).astype(np.float32)
            total[:, rows, columns] += weight * _run(part, spot, noise, restorer)
            weights[rows, columns] += weight
    sharp, smooth = (total / weights)[:, rim:-rim, rim:-rim]
    return fit_electrons(image, probe, (sharp, smooth), read_noise=read_noise)


def _run(
    part: np.ndarray, spot: torch.Tensor, noise: torch.Tensor, restorer: Restorer
) -> np.ndarray:
    """Object function and background, (2, H, W)."""
    step = restorer.network.step
    height, width = part.shape
    whole = np.pad(part, [(0, -height % step), (0, -width % step)], mode="reflect")
    with torch.inference_mode():
        sharp, smooth = restorer.network(torch.from_numpy(whole)[None], spot, noise)
    return torch.stack([sharp, smooth])[:, 0, :height, :width].numpy()


def _cut(n_pixels: int, step: int) -> list[slice]:
    """Tiles of about equal size that overlap; their ends are multiples of `step` but the last."""
    n_tiles = max(1, -(-n_pixels // LARGEST_TILE))
    edges = np.round(np.linspace(0, n_pixels, n_tiles + 1) / step).astype(int) * step
    edges[-1] = n_pixels
    return [
        slice(max(int(low) - OVERLAP, 0), min(int(high) + OVERLAP, n_pixels))
        for low, high in pairwise(edges)
    ]


def _fade(n_pixels: int) -> np.ndarray:
    """Weight of the pixels of a tile: less toward its ends."""
    from_end = np.minimum(np.arange(n_pixels), np.arange(n_pixels)[::-1])
    return np.clip((from_end + 0.5) / (2 * OVERLAP), 1e-3, 1)


def _restore(
    counts: np.ndarray,
    spot: np.ndarray,
    restorer: Restorer | None,
    config: RestoreConfig,
    rng: np.random.Generator | int,
) -> Restoration:
    if restorer is not None and config.method == "deepstem":
        return restore_by_network(counts, spot, restorer, read_noise=config.read_noise)
    if config.method == "wiener":
        return restore_wiener(counts, spot)
    whole = np.rint(np.maximum(counts, 0))
    if config.method == "richardson-lucy":
        return restore_richardson_lucy(whole, spot, rng=rng)
    return restore_total_variation(whole, spot, rng=rng)


def _add_blocks(counts: np.ndarray, step: float, cutoff: float) -> tuple[np.ndarray, float]:
    """Electrons of larger pixels, where they are too fine for the network."""
    if step >= FINEST:
        return counts, step
    n = int(min(BLOCK, COARSEST / cutoff) / step)
    if n < 2:
        return counts, step
    height, width = (side // n * n for side in counts.shape)
    blocks = counts[:height, :width].reshape(height // n, n, width // n, n)
    return blocks.sum(axis=(1, 3)), n * step


def _to_dataset(maps: dict[str, np.ndarray], image: xr.DataArray, step: float) -> xr.Dataset:
    shape = maps["image"].shape
    places = {}
    for name, n in zip(("y", "x"), shape, strict=True):
        first, old = float(image[name][0]), float(image[name][1] - image[name][0])
        places[name] = (name, first + (step - old) / 2 + np.arange(n) * step, {"units": "angstrom"})
    variables = {
        name: (("y", "x"), np.asarray(values, np.float32), {"units": "electrons"})
        for name, values in maps.items()
    }
    variables["residual"][2]["units"] = "standard deviations"
    if "structure" in variables:
        variables["structure"][2]["units"] = "1"
    return xr.Dataset(variables, coords=places)
