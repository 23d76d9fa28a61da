"""Fit an object function to the electrons of its image, from where a network has put it."""

import numpy as np
import torch
from scipy import ndimage

from adatom.networks.probe_views import (
    match_probe,
    project_back,
    reconvolve,
    view_probe,
)
from adatom.restore.imaging import Restoration

MOST_STEPS = 128
SPOTS = 8.0  # widths of a spot, over which the background follows
RIM = 16  # pixels: columns outside shed light in that no object function explains
LEAST, LEAST_SHARE = 1e-3, 0.05  # of the mean electrons of a pixel; of a spot's light


def fit_electrons(
    image: np.ndarray,
    probe: np.ndarray,
    start: tuple[np.ndarray, np.ndarray],
    *,
    read_noise: float = 0.0,
) -> Restoration:
    """Fit object function and background to the electrons of an image.

    Parameters
    ----------
    image : (H, W) array
        Electrons per pixel.
    probe : (P, P) array
        Image of a point, P odd, sum 1.
    start : two (H, W) arrays
        Object function and background of a network, electrons per pixel.
    read_noise : float
        Of a pixel, rms, electrons.

    Returns
    -------
    Restoration
        With the number of steps; the object function is seen through the spots of `probe_views`.

    Notes
    -----
    Steps of Richardson and Lucy for both at once, O ← O Aᵀ[y/e]/Aᵀ[1] and b ← b G[y/e], A being the
    convolution with the probe, G a Gaussian of eight spots, e = A O + b; read noise is added to y
    and e as its variance (Snyder et al., J. Opt. Soc. Am. A 10 (1993) 1014). They end when the
    residual, correlated with the probe, has the variance that noise has: where the network explains
    the image as well as that, as at low dose, its result stays as it is.
    """
    rows, columns = (slice(m, -m) for m in (min(RIM, side // 4) for side in image.shape))
    with torch.inference_mode():
        counts, sharp, smooth = (
            torch.from_numpy(np.array(each, np.float32))[None] for each in (image, *start)
        )
        views = view_probe(torch.from_numpy(np.array(probe, np.float32))[None], image.shape)
        noise, least = read_noise**2, LEAST * float(counts.mean()) + 1e-12
        share = project_back(torch.ones_like(counts), views).clamp_min(LEAST_SHARE)
        spot_px = float(views.spot_area / (2 * torch.pi)) ** 0.5
        for number in range(MOST_STEPS + 1):
            expected = (reconvolve(sharp, views) + smooth).clamp_min(least)
            residual = (counts - expected) / (expected + noise).sqrt()
            matched = match_probe(residual, views)[:, rows, columns]
            is_last = number == MOST_STEPS
            if is_last or float((matched**2).mean() * views.area) <= 1:
                break
            ratio = (counts + noise).clamp_min(0) / (expected + noise)
            sharp = (sharp * project_back(ratio, views) / share).clamp_min(0)
            followed = ndimage.gaussian_filter(ratio[0].numpy(), SPOTS * spot_px)
            smooth = smooth * torch.from_numpy(followed)
    sharp_map, expected_map, smooth_map = (each[0].numpy() for each in (sharp, expected, smooth))
    return Restoration(sharp_map, expected_map, smooth_map, n_iterations=number, spot_px=spot_px)
