"""Learning to restore: on images with a truth, and on those without."""

import numpy as np
import pytest
import torch

from adatom.core.errors import ConfigError, FileError, ImageError
from adatom.learn import loop
from adatom.learn.samples import TRAINING, choose_split
from adatom.networks.probe_views import blur_to_spots, reconvolve, view_probe
from adatom.networks.restorer import load_restorer, save_restorer
from adatom.restore import training as restore_training
from adatom.restore.training import (
    LARGE,
    LEAST_VARIANCE,
    Frame,
    make_sample,
    measure_loss,
    train_restorer,
)
from adatom.simulate.objects import N_PROBE, RestoreRecipe, simulate_object


def make_recipe(**training):
    values = {
        "structure": {"kind": "mx2", "materials": ["MoS2"]},
        "detector": {"peak_electrons": 500.0},
        "dataset": {"n_pixels": 64},
        "network": {"kind": "deepstem", "widths": [4, 8]},
        "training": {"n_steps": 4, "batch_size": 2, "n_validation": 2, "validate_every": 2}
        | training,
    }
    return RestoreRecipe.from_mapping(values, source="test")


@pytest.fixture(scope="module")
def frame():
    example = simulate_object(make_recipe(), 11)
    return Frame(example.image.astype(int), example.probe[None])


class Known(torch.nn.Module):
    """Gives what it is told."""

    def __init__(self, sharp, smooth):
        super().__init__()
        self.found = sharp, smooth

    def forward(self, image, probe, read_noise):
        return self.found


def test_the_truth_has_the_least_loss():
    sample = [part[None] for part in make_sample(make_recipe(), (), TRAINING, 3)]
    views = view_probe(sample[4], (64, 64))
    sharp, smooth = blur_to_spots(sample[2], views), sample[3]
    right = float(measure_loss(0.1, Known(sharp, smooth), sample))
    assert right < 0.05
    for wrong in ((0 * sharp, smooth), (1.3 * sharp, smooth), (sharp, smooth + sharp.mean())):
        assert float(measure_loss(0.1, Known(*wrong), sample)) > 2 * right


def test_the_mean_of_what_is_possible_has_the_least_loss():
    sample = [part[None] for part in make_sample(make_recipe(), (), TRAINING, 3)]
    views = view_probe(sample[4], (64, 64))
    dim, smooth = 0.8 * sample[2], sample[3]
    spots = [blur_to_spots(points, views).clamp_min(0) for points in (sample[2], dim)]
    truths = [
        [sample[0], reconvolve(sharp, views) + smooth, points, *sample[3:]]
        for sharp, points in zip(spots, (sample[2], dim), strict=True)
    ]
    losses = {}
    for share in (0.2, 0.5, 0.8):
        found = Known(share * spots[0] + (1 - share) * spots[1], smooth)
        losses[share] = sum(float(measure_loss(0.1, found, truth)) for truth in truths)
    assert losses[0.5] < min(losses[0.2], losses[0.8])


def test_the_network_is_told_a_probe_that_may_be_wrong():
    values = make_recipe().model_dump(exclude_defaults=True) | {"mistake": {"size": 3}}
    sample = make_sample(RestoreRecipe.from_mapping(values, source="test"), (), TRAINING, 3)
    right = make_sample(make_recipe(), (), TRAINING, 3)
    assert torch.equal(right[4], right[5])
    assert torch.equal(sample[4], right[4])
    assert 0.005 < float((sample[5] - sample[4]).abs().sum()) / 2 < 0.3
    assert torch.equal(sample[0], right[0])


def test_without_truth_the_expectation_has_the_least_loss_on_average(frame):
    example = simulate_object(make_recipe(), 11)
    recipe = make_recipe(simulated=0.0)
    probe = torch.from_numpy(frame.probes)
    views = view_probe(probe, (64, 64))
    sharp = blur_to_spots(torch.from_numpy(example.object_function)[None], views)
    smooth = torch.from_numpy(example.background)[None]
    losses = {}
    for factor in (0.9, 1.0, 1.1):
        found = []
        for index in range(6):
            sample = [part[None] for part in make_sample(recipe, [frame], TRAINING, index)]
            kept = 1 / (1 + float(sample[7]))  # of the electrons, that the network sees
            scaled = (kept * factor * sharp, kept * smooth)
            found.append(float(measure_loss(0.0, Known(*scaled), sample)))
        losses[factor] = np.mean(found)
    assert losses[1.0] < min(losses[0.9], losses[1.1])


def test_each_electron_of_a_frame_goes_to_one_of_two_images(frame):
    seen, other, points, _, probe, told, _, ratio, has_truth = make_sample(
        make_recipe(simulated=0.0), [frame], TRAINING, 5
    )
    assert np.array_equal((seen + other).numpy(), frame.counts)
    assert float(other.sum() / seen.sum()) == pytest.approx(float(ratio), rel=0.05)
    assert float(has_truth) == 0
    assert float(points.abs().sum()) == 0
    assert probe.shape == (N_PROBE, N_PROBE)
    assert torch.equal(probe, told)


def test_a_training_with_frames_goes_on_where_it_stopped(tmp_path, frame):
    whole = train_restorer(make_recipe(), tmp_path / "whole", frames=[frame], n_workers=0)
    path = save_restorer(whole, tmp_path)
    assert load_restorer(path).card.frames == whole.card.frames
    assert len(whole.card.frames) == 1
    with pytest.raises(FileError, match="holds a training already"):
        train_restorer(make_recipe(), tmp_path / "whole", n_workers=0)
    again = train_restorer(
        make_recipe(), tmp_path / "whole", frames=[frame], resume=True, n_workers=0
    )
    assert all(
        torch.equal(one, other)
        for one, other in zip(
            whole.network.state_dict().values(), again.network.state_dict().values(), strict=True
        )
    )


def test_a_restorer_goes_on_from_another_with_images_that_it_did_not_see(tmp_path, monkeypatch):
    splits = []

    def draw(samples, *others):
        splits.append(samples.split)
        return loop.draw_batches(samples, *others)

    monkeypatch.setattr(restore_training, "draw_batches", draw)
    first = train_restorer(make_recipe(), tmp_path / "first", n_workers=0)
    further = make_recipe(name="further")
    second = train_restorer(further, tmp_path / "second", start=first, n_workers=0)
    assert second.card.start["name"] == first.card.name
    assert second.card.start["n_steps"] == first.card.n_steps
    train_restorer(further, tmp_path / "second", resume=True, n_workers=0)
    assert splits == [TRAINING, *[choose_split(second.card.start)] * 2]
    assert splits[0] != splits[1]


def test_what_noise_leaves_open_is_no_great_loss_where_electrons_are_few():
    sample = [part[None] for part in make_sample(make_recipe(), (), TRAINING, 3)]
    n_electrons, nothing = 100, torch.zeros(1, 64, 64)
    flat = nothing + n_electrons / 64**2
    error = (n_electrons**0.5) / 64**2  # of the level, by counting
    dark = [flat, flat, nothing, flat, *sample[4:]]
    off = float(measure_loss(0.1, Known(nothing, flat + error), dark))
    each = 1 / (1 + LEAST_VARIANCE * n_electrons)  # of image and background
    assert off == pytest.approx(2 * LARGE * np.log1p(each / LARGE), rel=0.02)
    empty = [*([nothing] * 4), *sample[4:]]
    assert float(measure_loss(0.1, Known(nothing, nothing + 1e-6), empty)) < 1e-3


def test_what_cannot_be_learned_from_is_refused(tmp_path, frame):
    half = Frame(frame.counts + 0.5, frame.probes)
    with pytest.raises(ImageError, match="whole electrons"):
        train_restorer(make_recipe(), tmp_path, frames=[half])
    with pytest.raises(ImageError, match="at least 64 × 64"):
        train_restorer(make_recipe(), tmp_path, frames=[Frame(frame.counts[:40], frame.probes)])
    small = Frame(frame.counts, np.full((1, 9, 9), 1 / 81))
    with pytest.raises(ImageError, match=r"65 × 65 pixels each \(got shape \(1, 9, 9\)"):
        train_restorer(make_recipe(), tmp_path, frames=[small])
    with pytest.raises(ConfigError, match=r"training\.name"):
        train_restorer(make_recipe(name="best"), tmp_path)
