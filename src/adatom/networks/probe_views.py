"""What a network for object functions looks at: an image through the probe that took it."""

from typing import NamedTuple

import torch
from torch import nn

LEAST_TRANSFER = 0.02  # of the highest frequency that counts
WIDTH = 0.25  # of the narrowest spot, standard deviation times that frequency
MOST_GAIN = 30.0  # of a frequency beyond it
ITERATIONS = (5, 25)  # of Richardson-Lucy, of which the network sees the results
CLEAR = 3.0  # power of a frequency over that of noise, above which it counts as a lattice's
LEAST_LATTICE = 0.05  # transfer, below which its frequencies are not raised any more
N_SEEN = 7  # maps
_LEAST = 1e-6


class ProbeViews(NamedTuple):
    """What follows from the probes of a batch, on the grid of the padded images.

    Attributes
    ----------
    transfer : (B, h, w') complex tensor
        Fourier transform of the probe.
    spot : (B, h, w') tensor
        Fourier transform of the Gaussian that is the narrowest spot of an object function.
    area : (B, 1, 1) tensor
        Pixels that share the light of a point: 1 / Σ P².
    spot_area : (B, 1, 1) tensor
        Pixels that share the narrowest spot: 2π σ².
    """

    transfer: torch.Tensor
    spot: torch.Tensor
    area: torch.Tensor
    spot_area: torch.Tensor


def view_probe(probe: torch.Tensor, shape: tuple[int, int]) -> ProbeViews:
    """Prepare probes for images of a shape.

    Parameters
    ----------
    probe : (B, P, P) tensor
        As of `DeepSTEM.forward`.
    shape : (int, int)
        Height and width of the images.

    Returns
    -------
    ProbeViews
        On the grid of the images with half a probe around.
    """
    n = probe.shape[-1]
    height, width = (side + n - 1 for side in shape)
    padded = nn.functional.pad(probe.float(), (0, width - n, 0, height - n))
    transfer = torch.fft.rfft2(padded.roll((-(n // 2), -(n // 2)), (-2, -1)))
    ky = torch.fft.fftfreq(height, device=probe.device)[:, None]
    square = ky**2 + torch.fft.rfftfreq(width, device=probe.device) ** 2
    is_seen = transfer.abs() >= LEAST_TRANSFER
    highest = (square * is_seen).amax((1, 2), keepdim=True).clamp(1 / height**2, 0.25)
    variance = WIDTH**2 / highest
    spot = torch.exp(-2 * torch.pi**2 * variance * square)
    area = 1 / (probe.float() ** 2).sum((1, 2), keepdim=True)
    return ProbeViews(transfer, spot, area, 2 * torch.pi * variance)


def reconvolve(object_function: torch.Tensor, views: ProbeViews) -> torch.Tensor:
    """Image of an object function that goes on by reflection.

    Parameters
    ----------
    object_function : (B, H, W) tensor
        As of `DeepSTEM`: its spots are those of `views` at their narrowest.
    views : ProbeViews
        Of `view_probe`.

    Returns
    -------
    (B, H, W) tensor
        Without background.
    """
    gain = 1 / views.spot.clamp_min(1 / MOST_GAIN)
    return _filter(object_function, views.transfer * gain)


def project_back(values: torch.Tensor, views: ProbeViews) -> torch.Tensor:
    """Adjoint of `reconvolve`: what each pixel of an object function has to do with an image.

    Parameters
    ----------
    values : (B, H, W) tensor
        An image, which goes on by reflection.
    views : ProbeViews
        Of `view_probe`.

    Returns
    -------
    (B, H, W) tensor
        Of ones: how much of an object function's light falls into the image.
    """
    gain = 1 / views.spot.clamp_min(1 / MOST_GAIN)
    return _filter(values, views.transfer.conj() * gain)


def match_probe(image: torch.Tensor, views: ProbeViews) -> torch.Tensor:
    """Correlate an image with the probe.

    Parameters
    ----------
    image : (B, H, W) tensor
        Any values; they go on by reflection.
    views : ProbeViews
        Of `view_probe`.

    Returns
    -------
    (B, H, W) tensor
        White noise of variance 1 becomes noise of variance 1 / `views.area`.
    """
    return _filter(image, views.transfer.conj())


def blur_to_spots(points: torch.Tensor, views: ProbeViews) -> torch.Tensor:
    """Object function of points, as `DeepSTEM` draws it.

    Parameters
    ----------
    points : (B, H, W) tensor
        Electrons that points scatter.
    views : ProbeViews
        Of `view_probe`.

    Returns
    -------
    (B, H, W) tensor
        Each point a Gaussian.
    """
    return _filter(points, views.spot)


def look(
    image: torch.Tensor, views: ProbeViews, read_noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network looks at.

    Parameters
    ----------
    image : (B, H, W) tensor
        Electrons per pixel.
    views : ProbeViews
        Of `view_probe`.
    read_noise : (B,) tensor
        Rms, electrons per pixel.

    Returns
    -------
    seen : (B, 7, H, W) tensor
        The image, the image correlated with the probe, a Wiener estimate of the object function,
        two of Richardson and Lucy, and its lattice, all over their scale and compressed; and the
        logarithm of the electrons in the area of the probe.
    scale : (B, 1, 1) tensor
        Root mean square of the noiseless image, as the probe correlates it.
    """
    image = image.float()
    read_variance = read_noise[:, None, None] ** 2
    matched = match_probe(image, views)
    scale, variance = measure_contrast(image, views, read_noise)
    unit = scale * views.area / views.spot_area
    power = views.transfer.abs() ** 2
    mean = image.mean((1, 2), keepdim=True)
    # Of an object of points, whose power is the same at all frequencies.
    signal = torch.maximum(variance, 1e-3 * scale**2) / (power**2).mean((1, 2), keepdim=True)
    noise = (mean.clamp_min(_LEAST) + read_variance) / signal
    wiener = _filter(image - mean, views.transfer.conj() * views.spot / (power + noise))
    few, many = (_filter(points, views.spot) for points in sharpen(image, views))
    lattice = find_lattice(image, views, read_noise)
    electrons = (scale**2 * views.area / (scale + read_variance)).log10()
    seen = torch.stack(
        [
            image / scale,
            matched / scale,
            wiener / unit,
            few / unit,
            many / unit,
            lattice / unit,
        ],
        dim=1,
    )
    # Few electrons make single values huge.
    return torch.cat([seen.asinh(), electrons.expand_as(image)[:, None]], dim=1), scale


def measure_contrast(
    image: torch.Tensor, views: ProbeViews, read_noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """How bright an image is, and how much its noiseless part varies.

    Parameters
    ----------
    image : (B, H, W) tensor
        Electrons per pixel.
    views : ProbeViews
        Of `view_probe`.
    read_noise : (B,) tensor
        Rms, electrons per pixel.

    Returns
    -------
    scale : (B, 1, 1) tensor
        Root mean square of the noiseless image, as the probe correlates it.
    variance : (B, 1, 1) tensor
        Variance of the same.
    """
    mean = image.mean((1, 2), keepdim=True).clamp_min(_LEAST)
    noise = (mean + read_noise[:, None, None] ** 2) / views.area
    matched = match_probe(image, views)
    variance = (matched.var((1, 2), keepdim=True) - noise).clamp_min(0)
    return (mean**2 + variance).sqrt(), variance


@torch.no_grad()
def sharpen(image: torch.Tensor, views: ProbeViews) -> list[torch.Tensor]:
    """Richardson-Lucy estimates of the points behind an image, after few and many iterations.

    Parameters
    ----------
    image : (B, H, W) tensor
        Electrons per pixel.
    views : ProbeViews
        Of `view_probe`.

    Returns
    -------
    list of (B, H, W) tensor
        One for each number of `ITERATIONS`.

    Notes
    -----
    Accelerated after Biggs and Andrews, Applied Optics 36 (1997) 1766.
    """
    half = (views.transfer.shape[-2] - image.shape[-2]) // 2
    padded = nn.functional.pad(image[:, None].clamp_min(0), (half,) * 4, mode="reflect")[:, 0]

    def convolve(values: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(values) * transfer, padded.shape[-2:])

    least = 1e-3 * padded.mean((1, 2), keepdim=True) + _LEAST
    now = before = padded.mean((1, 2), keepdim=True).clamp_min(_LEAST).expand_as(padded)
    gain = last_gain = torch.zeros_like(now)
    kept = []
    for number in range(1, max(ITERATIONS) + 1):
        top = (gain * last_gain).sum((1, 2), keepdim=True)
        stride = (top / (last_gain**2).sum((1, 2), keepdim=True).clamp_min(_LEAST)).clamp(0, 0.95)
        ahead = (now + stride * (now - before)).clamp_min(0)
        ratio = padded / convolve(ahead, views.transfer).clamp_min(least)
        before, now = now, ahead * convolve(ratio, views.transfer.conj()).clamp_min(0)
        last_gain, gain = gain, now - ahead
        if number in ITERATIONS:
            kept.append(now[:, half : half + image.shape[1], half : half + image.shape[2]])
    return kept


def find_lattice(image: torch.Tensor, views: ProbeViews, read_noise: torch.Tensor) -> torch.Tensor:
    """What of an object function repeats: its frequencies that stand out of the noise.

    Parameters
    ----------
    image : (B, H, W) tensor
        Electrons per pixel.
    views : ProbeViews
        Of `view_probe`.
    read_noise : (B,) tensor
        Rms, electrons per pixel.

    Returns
    -------
    (B, H, W) tensor
        Of mean 0, as `DeepSTEM` draws object functions.

    Notes
    -----
    A Wiener filter for the power of each single frequency of the image itself (Kilaas, J. Microsc.
    190 (1998) 45). Where a lattice fills the image, its few frequencies rise above noise at doses
    at which no single atom is seen.
    """
    height, width = image.shape[-2:]
    half = (views.transfer.shape[-2] - height) // 2
    mean = image.mean((1, 2), keepdim=True)
    spectrum = torch.fft.rfft2(nn.functional.pad(image - mean, (half,) * 4))
    noise = height * width * (mean.clamp_min(_LEAST) + read_noise[:, None, None] ** 2)
    power = spectrum.abs() ** 2
    clear = (1 - CLEAR * noise / power.clamp_min(_LEAST)).clamp_min(0)
    raised = views.transfer.conj() / (views.transfer.abs() ** 2).clamp_min(LEAST_LATTICE**2)
    found = torch.fft.irfft2(
        clear * raised * views.spot * spectrum, s=(height + 2 * half, width + 2 * half)
    )
    return found[:, half : half + height, half : half + width]


def _filter(values: torch.Tensor, transfer: torch.Tensor) -> torch.Tensor:
    """Multiply the spectrum of values that go on by reflection."""
    height, width = values.shape[-2:]
    half = (transfer.shape[-2] - height) // 2
    padded = nn.functional.pad(values[:, None], (half,) * 4, mode="reflect")[:, 0]
    filtered = torch.fft.irfft2(torch.fft.rfft2(padded) * transfer, padded.shape[-2:])
    return filtered[:, half : half + height, half : half + width]
