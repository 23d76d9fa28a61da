"""What DeepSTEM sees of an image and its probe, and how its object function becomes an image."""

import numpy as np
import pytest
import torch
from scipy import signal

from adatom.networks import probe_views
from adatom.networks.deepstem import DARK, MOST, DeepSTEM, follow_electrons
from adatom.networks.probe_views import (
    N_SEEN,
    WIDTH,
    blur_to_spots,
    find_lattice,
    look,
    reconvolve,
    sharpen,
    view_probe,
)


def make_gaussian(sigma, side=33):
    axis = np.arange(side) - side // 2
    line = np.exp(-(axis**2) / (2 * sigma**2))
    probe = np.outer(line, line)
    return torch.from_numpy(probe / probe.sum()).float()[None]


@pytest.fixture
def points():
    points = torch.zeros(1, 64, 64)
    points[0, 30, 24], points[0, 36, 40] = 900.0, 400.0
    return points


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_spots_are_a_quarter_of_the_shortest_period_that_the_probe_transfers(sigma):
    views = view_probe(make_gaussian(sigma), (96, 96))
    highest = np.sqrt(np.log(50) / 2) / (np.pi * sigma)  # where its transfer is 0.02
    assert float(views.spot_area) == pytest.approx(2 * np.pi * (WIDTH / highest) ** 2, rel=0.05)
    assert float(views.area) == pytest.approx(4 * np.pi * sigma**2, rel=1e-3)


def test_reconvolved_spots_are_points_convolved_with_the_probe(points):
    probe = make_gaussian(2.0)
    views = view_probe(probe, (64, 64))
    spots = blur_to_spots(points, views)
    assert float(spots.sum()) == pytest.approx(1300, rel=1e-4)
    image = reconvolve(spots, views)[0].numpy()
    expected = signal.fftconvolve(points[0].numpy(), probe[0].numpy(), mode="same")
    assert np.abs(image - expected).max() < 0.02 * expected.max()


def test_sharpened_points_explain_the_image_better_and_keep_its_electrons(points):
    views = view_probe(make_gaussian(2.0), (64, 64))
    image = reconvolve(blur_to_spots(points, views), views).clamp_min(0) + 0.2
    few, many = sharpen(image, views)
    for found in (few, many):
        assert float(found.min()) >= 0
        assert float(found.sum()) == pytest.approx(float(image.sum()), rel=0.02)
    assert float(many[0, 29:32, 23:26].sum()) > 1.5 * float(few[0, 29:32, 23:26].sum())


def test_what_the_network_sees_scales_with_the_electrons_of_an_image(points):
    views = view_probe(make_gaussian(2.0), (64, 64))
    image = reconvolve(blur_to_spots(points, views), views).clamp_min(0) + 5
    read_noise = torch.zeros(1)
    seen, scale = look(image, views, read_noise)
    brighter, more = look(1000 * image, views, read_noise)
    assert float(more / scale) == pytest.approx(1000, rel=1e-2)
    assert torch.allclose(seen[:, :2], brighter[:, :2], rtol=0.02, atol=1e-3)
    assert seen.shape == (1, N_SEEN, 64, 64)
    assert float((brighter - seen)[0, -1, 0, 0]) == pytest.approx(3, abs=0.01)


def make_lattice(side=96, period=9.0, angle=0.4):
    rows = np.arange(-20, 21) * period
    u, v = (each.ravel() for each in np.meshgrid(rows, rows))
    y = side / 2 + np.cos(angle) * u - np.sin(angle) * v
    x = side / 2 + np.sin(angle) * u + np.cos(angle) * v
    points = torch.zeros(1, side, side)
    inside = (np.minimum(y, x) >= 0) & (np.maximum(y, x) < side - 0.5)
    points[0, y[inside].round(), x[inside].round()] = 1.0
    return points


def test_a_lattice_is_seen_where_single_atoms_hardly_are():
    points = 4 * make_lattice()
    views = view_probe(make_gaussian(2.0), (96, 96))
    spots = blur_to_spots(points, views)
    image = reconvolve(spots, views).clamp_min(0)
    counts = torch.poisson(image, generator=torch.Generator().manual_seed(3))
    inside = np.s_[0, 16:-16, 16:-16]
    by_lattice, by_atoms = (
        np.corrcoef(found[inside].ravel(), spots[inside].ravel())[0, 1]
        for found in (
            find_lattice(counts, views, torch.zeros(1)),
            blur_to_spots(sharpen(counts, views)[0], views),
        )
    )
    assert by_lattice > 0.7 > 1.4 * by_atoms


def test_noise_has_no_lattice(monkeypatch):
    views = view_probe(make_gaussian(2.0), (96, 96))
    counts = torch.poisson(torch.full((1, 96, 96), 0.5), generator=torch.Generator().manual_seed(3))
    found = find_lattice(counts, views, torch.zeros(1))
    assert abs(float(found.mean())) < 0.01
    monkeypatch.setattr(probe_views, "CLEAR", 0.0)
    every = find_lattice(counts, views, torch.zeros(1))
    assert float(found.var()) < 0.05 * float(every.var())  # 0.02 of exponential noise by formula
    assert float(find_lattice(0 * counts, views, torch.zeros(1)).abs().max()) == 0


def test_electrons_ask_columns_that_are_drawn_too_bright_to_be_darker(points):
    views = view_probe(make_gaussian(2.0), (64, 64))
    true = blur_to_spots(points, views).clamp_min(0)
    counts = reconvolve(true, views).clamp_min(0) + 0.2
    drawn = true.clone()
    drawn[:, :, :32] /= 1.5
    drawn[:, :, 32:] *= 1.5
    ratio = follow_electrons(counts, (drawn, torch.tensor(0.2)), views, torch.tensor(0.01))
    for y, x, factor in ((30, 24, 1.5), (36, 40, 1 / 1.5)):
        spot = np.s_[0, y - 2 : y + 3, x - 2 : x + 3]
        found = float((ratio * drawn)[spot].sum() / drawn[spot].sum())
        assert np.log(found) / np.log(factor) == pytest.approx(1, abs=0.25)
    right = follow_electrons(counts, (true, torch.tensor(0.2)), views, torch.tensor(0.01))
    assert float((right - 1).abs()[true > 0.1 * true.max()].max()) < 0.02
    nothing = torch.zeros_like(counts)
    dark = follow_electrons(nothing, (nothing, torch.tensor(0.0)), views, torch.tensor(0.01))
    assert bool((dark == 1).all())


def test_the_second_drawing_begins_as_the_first(points):
    network = DeepSTEM((4, 8)).eval()
    network.draw_weights(np.random.default_rng(1))
    views = view_probe(make_gaussian(2.0), (64, 64))
    counts = reconvolve(blur_to_spots(points, views), views).clamp_min(0) + 0.2
    with torch.inference_mode():
        sharp, _ = network(counts, make_gaussian(2.0), torch.zeros(1))
        seen, scale = look(counts, views, torch.zeros(1))
        first = torch.nn.functional.softplus(network.first(seen)[:, 0] - DARK)
        first = first * scale * views.area / views.spot_area
    change = (sharp / first - 1).abs()
    assert 0 < float(change.max()) < 0.05 * (MOST - 1)  # of what the electrons ask, about e^-3


@pytest.mark.parametrize("level", [0.0, 3.0])
def test_object_functions_are_never_negative_even_of_empty_images(level):
    torch.manual_seed(0)
    network = DeepSTEM((4, 8)).eval()
    image = torch.full((2, 48, 40), level)
    probe = make_gaussian(2.0).expand(2, -1, -1)
    with torch.inference_mode():
        sharp, smooth = network(image, probe, torch.zeros(2))
    for values in (sharp, smooth):
        assert values.shape == image.shape
        assert bool(values.isfinite().all())
        assert float(values.min()) >= 0
