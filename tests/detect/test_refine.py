"""Refined positions against the truth, their errors and their bound."""

import numpy as np
import pytest
from scipy import ndimage

from adatom.core import threads
from adatom.core.errors import ImageError
from adatom.detect.bounds import position_bound
from adatom.detect.columns import PatchGrid
from adatom.detect.profile import make_gaussian_profile, make_profile, tabulate_profile
from adatom.detect.refine import RefineConfig, Refined, bin_image, refine_positions

PIXEL = 0.2
SIGMA = 0.45
AREA = 2 * np.pi * SIGMA**2 / PIXEL**2


def make_lattice(size, rng, *, disorder=0.03, vacancies=0.05, pixel=PIXEL):
    """Columns of MoS2 (px), their peaks relative to a metal, and their kind (M, X2, X1)."""
    length = size * pixel
    steps = np.arange(-80, 80)
    first, second = (a.ravel()[:, None] for a in np.meshgrid(steps, steps))
    angles = 0.2, 0.2 + np.pi / 3
    a1, a2 = (3.16 * np.array([np.sin(a), np.cos(a)]) for a in angles)
    metal = first * a1 + second * a2 + length / 2
    positions = np.concatenate([metal, metal + (a1 + a2) / 3])
    kind = np.repeat([0, 1], len(metal))
    near = ((positions > -3) & (positions < length + 3)).all(axis=1)
    positions, kind = positions[near], kind[near]
    kind[(kind == 1) & (rng.random(len(kind)) < vacancies)] = 2
    positions = positions + rng.normal(0, disorder, positions.shape)
    return positions / pixel, np.array([1, 0.42, 0.21])[kind], kind


def render(positions, peaks, size, profile, *, background=0.2, pixel=PIXEL):
    """Expected image whose metal columns are 1 high."""
    grid = PatchGrid((size, size), tabulate_profile(profile, (pixel, pixel), profile.radius))
    top = profile.evaluate(np.zeros(1), np.zeros(1))[0] * pixel**2
    return grid.render(grid.place(positions), peaks / top) + background


def make_case(dose, size=256, seed=0, profile=None, **options):
    rng = np.random.default_rng(seed)
    profile = profile or make_gaussian_profile(SIGMA**2)
    positions, peaks, kind = make_lattice(size, rng, **options)
    counts = rng.poisson(render(positions, peaks, size, profile) * dose).astype(float)
    listed = ((positions > 0) & (positions < size - 1)).all(axis=1)
    start = positions[listed] + rng.normal(0, 0.12 / PIXEL, (listed.sum(), 2))
    truth = positions[listed]
    inner = ((truth > 25) & (truth < size - 25)).all(axis=1)
    return counts, start, truth, inner, kind[listed], (positions, peaks)


def bound_listed(positions, peaks, dose, shape, **options):
    """Cramér-Rao bound of the columns inside the image."""
    profile = make_gaussian_profile(SIGMA**2)
    bound = position_bound(
        positions, peaks * dose * AREA, 0.2 * dose, profile, shape, PIXEL, **options
    )
    return bound[((positions > 0) & (positions < shape[0] - 1)).all(axis=1)]


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("dose", [30, 1000])
def test_reaches_joint_bound(dose):
    counts, start, truth, inner, kind, (positions, peaks) = make_case(dose, seed=1)
    refined = refine_positions(counts, start, PIXEL, is_counts=True)
    errors = refined.positions - truth
    bound = bound_listed(positions, peaks, dose, counts.shape)
    for label in (0, 1):
        chosen = inner & (kind == label)
        assert root_mean_square(errors[chosen]) < 1.1 * root_mean_square(bound[chosen])
    assert refined.is_refined.all()
    assert refined.profile.sigma == pytest.approx(SIGMA, rel=0.03)


@pytest.mark.parametrize("dose", [3, 10, 100, 1000])
def test_errors_cover_truth(dose):
    counts, start, truth, inner, _, _ = make_case(dose, seed=2, size=320)
    refined = refine_positions(counts, start, PIXEL, is_counts=True)
    score = ((refined.positions - truth) / refined.errors)[inner]
    assert 0.60 < np.mean(np.abs(score) < 1) < 0.76


@pytest.mark.parametrize(("dose", "share"), [(3, 0.8), (10, 1.0)])
def test_low_dose_beats_isolated_columns(dose, share):
    counts, start, truth, inner, kind, (positions, peaks) = make_case(dose, seed=3, size=320)
    refined = refine_positions(counts, start, PIXEL, is_counts=True)
    bound = bound_listed(positions, peaks, dose, counts.shape, is_isolated=True)
    chosen = inner & (kind < 2)
    ratio = root_mean_square((refined.positions - truth)[chosen]) / root_mean_square(bound[chosen])
    assert ratio < share


def test_planted_displacements_come_back():
    rng = np.random.default_rng(4)
    size, profile = 256, make_gaussian_profile(SIGMA**2)
    positions, peaks, _ = make_lattice(size, rng)
    planted = np.zeros_like(positions)
    moved = rng.random(len(positions)) < 0.08
    angle = rng.uniform(0, 2 * np.pi, moved.sum())
    length = rng.uniform(0.05, 0.2, moved.sum()) / PIXEL
    planted[moved] = length[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    counts = rng.poisson(render(positions + planted, peaks, size, profile) * 300).astype(float)
    inner = ((positions > 20) & (positions < size - 20)).all(axis=1)
    listed = ((positions > 2) & (positions < size - 3)).all(axis=1)
    refined = refine_positions(counts, positions[listed], PIXEL, is_counts=True)
    chosen = (inner & moved)[listed]
    found = (refined.positions - positions[listed])[chosen]
    truth = planted[listed][chosen]
    assert (found * truth).sum() / (truth**2).sum() == pytest.approx(1, abs=0.05)


def test_without_the_lattice_nothing_pulls_back():
    counts, start, truth, inner, _, _ = make_case(3, seed=12, size=320)
    config = RefineConfig(use_lattice=False)
    own = refine_positions(counts, start, PIXEL, is_counts=True, config=config)
    assert own.prior is None
    joined = refine_positions(counts, start, PIXEL, is_counts=True)
    score = ((own.positions - truth) / own.errors)[inner]
    assert 0.60 < np.mean(np.abs(score) < 1) < 0.76
    assert root_mean_square((joined.positions - truth)[inner]) < 0.8 * root_mean_square(
        (own.positions - truth)[inner]
    )


def test_asymmetric_columns_without_bias():
    axis = (np.arange(81) - 40) * 0.1
    y, x = axis[:, None], axis
    values = np.exp(-(y**2 + x**2) / (2 * 0.42**2))
    values += 0.25 * np.exp(-((y - 0.45) ** 2 + (x - 0.2) ** 2) / (2 * 0.45**2))
    profile = make_profile(values, 0.1)
    counts, start, truth, inner, kind, _ = make_case(1000, seed=5, size=400, profile=profile)
    refined = refine_positions(counts, start, PIXEL, is_counts=True)
    errors = (refined.positions - truth)[inner] * PIXEL
    means = [errors[kind[inner] == label].mean(axis=0) for label in (0, 1)]
    # The shift that all columns share is no property of the image; that of a sublattice is.
    assert np.abs((means[0] - means[1]) / 2).max() < 0.003
    score = (errors - errors.mean(axis=0)) / (refined.errors[inner] * PIXEL)
    assert 0.60 < np.mean(np.abs(score) < 1) < 0.76


def test_known_profile():
    axis = (np.arange(61) - 30) * 0.1
    y, x = axis[:, None], axis
    values = np.exp(-(y**2 + x**2) / (2 * 0.4**2))
    values += 0.3 * np.exp(-((y - 0.4) ** 2 + x**2) / (2 * 0.4**2))
    profile = make_profile(values, 0.1)
    counts, start, truth, inner, kind, _ = make_case(1000, seed=11, profile=profile)
    refined = refine_positions(counts, start, PIXEL, is_counts=True, profile=profile)
    assert refined.profile is profile
    errors = (refined.positions - truth)[inner] * PIXEL
    # Nothing is estimated that the shift of all columns could hide behind.
    for label in (0, 1):
        assert np.abs(errors[kind[inner] == label].mean(axis=0)).max() < 0.003


def test_unlisted_columns_do_not_pull():
    counts, start, truth, inner, kind, _ = make_case(1000, seed=6)
    dropped = np.zeros(len(start), bool)
    dropped[np.nonzero(inner)[0][::40]] = True
    refined = refine_positions(counts, start[~dropped], PIXEL, is_counts=True)
    errors = (refined.positions - truth[~dropped])[(inner & (kind == 0))[~dropped]] * PIXEL
    assert root_mean_square(errors) < 0.006


@pytest.mark.parametrize("dose", [100, 1000])
def test_unlisted_bright_columns_leave_the_errors_right(dose):
    rng = np.random.default_rng(1)
    positions, peaks, kind = make_lattice(400, rng)
    inner = ((positions > 40) & (positions < 360)).all(axis=1)
    unlisted = np.nonzero(inner & (kind == 0))[0][[20, 150, 250]]
    peaks[unlisted] *= 3
    profile = make_gaussian_profile(SIGMA**2)
    counts = rng.poisson(render(positions, peaks, 400, profile) * dose).astype(float)
    listed = ((positions > 0) & (positions < 399)).all(axis=1)
    listed[unlisted] = False
    start = positions[listed] + rng.normal(0, 0.3, (listed.sum(), 2))
    options = RefineConfig(use_lattice=False)
    refined = refine_positions(counts, start, PIXEL, is_counts=True, config=options)
    scores = ((refined.positions - positions[listed]) / refined.errors)[inner[listed]]
    assert 0.85 < root_mean_square(scores) < 1.15


def test_threads_change_nothing(monkeypatch):
    counts, start, *_ = make_case(30, seed=12)
    found = []
    for n_threads in (1, 3):
        monkeypatch.setattr(threads, "count_cores", lambda n=n_threads: n)
        found.append(refine_positions(counts, start, PIXEL, is_counts=True))
    np.testing.assert_array_equal(found[0].positions, found[1].positions)
    np.testing.assert_array_equal(found[0].errors, found[1].errors)


def test_binned_equals_unbinned():
    profile = make_gaussian_profile(SIGMA**2)
    rng = np.random.default_rng(7)
    positions, peaks, _ = make_lattice(360, rng, pixel=0.1)
    fine = rng.poisson(render(positions, peaks, 360, profile, pixel=0.1) * 100).astype(float)
    listed = ((positions > 30) & (positions < 330)).all(axis=1)
    by_program = refine_positions(fine, positions[listed], 0.1, is_counts=True)
    binned = bin_image(fine, (2, 2))
    by_hand = refine_positions(binned, (positions[listed] - 0.5) / 2, 0.2, is_counts=True)
    np.testing.assert_allclose(by_program.positions, by_hand.positions * 2 + 0.5, atol=1e-6)
    np.testing.assert_allclose(by_program.intensity, by_hand.intensity, rtol=1e-6)


def test_values_that_are_no_counts():
    counts, start, truth, inner, _, _ = make_case(100, seed=8, size=320)
    electrons = refine_positions(counts, start, PIXEL, is_counts=True)
    raw = refine_positions(3.7 * counts + 500, start, PIXEL, is_counts=False)
    apart = (raw.positions - electrons.positions)[inner]
    assert root_mean_square(apart) < 0.5 * root_mean_square(electrons.errors[inner])
    filtered = ndimage.gaussian_filter(counts, 1.0) - counts.mean()
    smooth = refine_positions(filtered, start, PIXEL, is_counts=False)
    score = ((smooth.positions - truth) / smooth.errors)[inner]
    assert 0.57 < np.mean(np.abs(score) < 1) < 0.78


def test_unequal_pixels():
    counts, start, truth, inner, _, _ = make_case(1000, seed=9)
    wide = bin_image(counts, (1, 2))
    refined = refine_positions(
        wide, (start - [0, 0.5]) / [1, 2], (PIXEL, 2 * PIXEL), is_counts=True
    )
    errors = (refined.positions * [1, 2] + [0, 0.5] - truth)[inner] * PIXEL
    assert root_mean_square(errors) < 0.012


@pytest.mark.parametrize("gain", [None, 1e-12, 0.001, 1000.0])
def test_large_image_in_any_unit(gain):
    counts, start, truth, inner, _, _ = make_case(100, seed=13, size=520)
    values = counts if gain is None else gain * counts
    config = RefineConfig(use_lattice=False)
    refined = refine_positions(values, start, PIXEL, is_counts=gain is None, config=config)
    assert refined.profile.kind == "estimated"
    assert refined.is_refined[inner].mean() > 0.999
    score = ((refined.positions - truth) / refined.errors)[inner]
    assert 0.60 < np.mean(np.abs(score) < 1) < 0.76


def test_few_columns_in_a_large_image():
    profile = make_gaussian_profile(SIGMA**2)
    rng = np.random.default_rng(14)
    grid = np.arange(20, 1000, 160.0)
    truth = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2) + rng.uniform(-1, 1, (49, 2))
    truth = np.concatenate([truth, [[-2.0, 500.0]]])
    counts = rng.poisson(render(truth, np.ones(50), 1000, profile) * 300).astype(float)
    refined = refine_positions(counts, truth + 0.3, PIXEL, is_counts=True)
    inside = slice(0, 49)
    score = ((refined.positions - truth) / refined.errors)[inside]
    assert 0.55 < np.mean(np.abs(score) < 1) < 0.8
    outside = refine_positions(counts, truth[-1:], PIXEL, is_counts=True)
    assert np.isfinite(outside.positions).all()


def test_clean_images_stay_finite():
    axis = (np.arange(81) - 40) * 0.1
    values = np.exp(-((axis[:, None] - 0.05) ** 2 + axis**2) / (2 * 0.42**2))
    values += 0.25 * np.exp(-((axis[:, None] - 0.45) ** 2 + (axis - 0.2) ** 2) / (2 * 0.45**2))
    profile = make_profile(values, 0.1)
    positions, peaks, _ = make_lattice(160, np.random.default_rng(15))
    image = render(positions, peaks, 160, profile)
    inner = ((positions > 20) & (positions < 140)).all(axis=1)
    config = RefineConfig(use_lattice=False)
    listed = ((positions > 1) & (positions < 158)).all(axis=1)
    for height in (1e4, 1e9):
        start = positions[listed] + 0.2
        refined = refine_positions(image * height, start, PIXEL, is_counts=False, config=config)
        errors = (refined.positions - positions[listed])[inner[listed]] * PIXEL
        assert root_mean_square(errors - errors.mean(axis=0)) < 0.005


def test_empty_and_single():
    empty = refine_positions(np.ones((40, 40)), np.zeros((0, 2)), PIXEL, is_counts=True)
    assert isinstance(empty, Refined)
    assert empty.positions.shape == (0, 2)
    profile = make_gaussian_profile(SIGMA**2)
    image = render(np.array([[20.3, 18.8]]), np.ones(1), 40, profile) * 500
    counts = np.random.default_rng(0).poisson(image).astype(float)
    single = refine_positions(counts, np.array([[20.0, 19.0]]), PIXEL, is_counts=True)
    np.testing.assert_allclose(single.positions, [[20.3, 18.8]], atol=0.1)
    assert single.prior is None


def test_columns_at_the_rim_and_constant_image():
    counts, start, *_ = make_case(100, seed=10, size=128)
    refined = refine_positions(counts, start, PIXEL, is_counts=True)
    for values in (refined.positions, refined.errors, refined.intensity, refined.intensity_err):
        assert np.isfinite(values).all()
    assert np.abs(refined.positions - start).max() < 5
    flat = refine_positions(np.full((128, 128), 7.0), start, PIXEL, is_counts=False)
    assert np.isfinite(flat.positions).all()
    assert (flat.errors > 0).all()


def test_refuses_bad_images():
    with pytest.raises(ImageError, match="must be finite"):
        refine_positions(np.full((9, 9), np.nan), np.ones((1, 2)), 0.2, is_counts=True)
    with pytest.raises(ImageError, match="inside the image"):
        refine_positions(np.ones((9, 9)), np.array([[2.0, 40.0]]), 0.2, is_counts=True)
    with pytest.raises(ImageError, match="one image"):
        refine_positions(np.zeros((2, 9, 9)), np.ones((1, 2)), 0.2, is_counts=True)
