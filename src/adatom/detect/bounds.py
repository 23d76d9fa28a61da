"""What no method can beat: Cramér-Rao bounds of positions, likelihood ratios of vacancies."""

import numpy as np
from scipy import sparse, spatial
from scipy.special import logit, ndtr

from adatom.core.errors import ConfigError
from adatom.core.random import make_rng
from adatom.detect.columns import PatchGrid
from adatom.detect.profile import Profile, tabulate_profile

NEIGHBORHOOD = 4.0


def position_bound(  # noqa: PLR0917
    positions: np.ndarray,
    intensity: np.ndarray,
    background: float,
    profile: Profile,
    shape: tuple[int, int],
    pixel_size: float,
    *,
    is_isolated: bool = False,
) -> np.ndarray:
    """Smallest possible error of an unbiased position, for Poisson counts.

    Parameters
    ----------
    positions : (N, 2) array, px
        True columns [y, x].
    intensity : (N,) array
        Counts of each column.
    background : float
        Counts per pixel.
    profile : Profile
        Shape of a column.
    shape : (int, int)
        Rows and columns of the image.
    pixel_size : float
        Å per pixel.
    is_isolated : bool
        Each column alone on the background, its intensity known; else all columns together, all
        positions and intensities and the background unknown.

    Returns
    -------
    (N, 2) array
        Standard error of each coordinate, px.

    Notes
    -----
    Inverse Fisher matrix; the joint one of each column with its neighbors up to 4 Å.
    """
    intensity = np.asarray(intensity, float)
    table = tabulate_profile(profile, (pixel_size, pixel_size), profile.radius)
    grid = PatchGrid(shape, table)
    placement = grid.place(np.asarray(positions, float))
    basis = table.basis[placement.phases].reshape(len(positions), 3, -1).astype(float)
    if is_isolated:
        expected = background + basis[:, 2] * intensity[:, None]
        slopes = basis[:, :2] * intensity[:, None, None]
        return 1 / np.sqrt((slopes**2 / expected[:, None]).sum(axis=2))
    model = grid.render(placement, intensity) + background
    weights = grid.pad_image(1 / model).astype(float)
    within = np.arange(weights.size).reshape(weights.shape)
    height, width = table.basis.shape[2:]
    corner = within[tuple(placement.corners.T)]
    index = corner[:, None] + within[:height, :width].ravel()
    bases = sparse.csr_matrix(
        (
            basis.ravel(),
            np.repeat(index, 3, axis=0).ravel(),
            np.arange(3 * len(index) + 1) * index.shape[1],
        ),
        shape=(3 * len(index), weights.size),
    )
    weighted = bases.multiply(weights.ravel()).tocsr()
    fisher, coupling = (weighted @ bases.T).tocsr(), bases @ weights.ravel()
    return _invert_around(positions, intensity, fisher, coupling, weights.sum(), pixel_size)


def _invert_around(  # noqa: PLR0917
    positions: np.ndarray,
    intensity: np.ndarray,
    fisher: sparse.csr_matrix,
    coupling: np.ndarray,
    background_fisher: float,
    pixel_size: float,
) -> np.ndarray:
    """Errors from the inverse of the part of the Fisher matrix around each column."""
    tree = spatial.cKDTree(positions)
    errors = np.empty((len(positions), 2))
    for atom, around in enumerate(tree.query_ball_point(positions, NEIGHBORHOOD / pixel_size)):
        order = [atom, *(other for other in around if other != atom)]
        rows = (np.array(order)[:, None] * 3 + np.arange(3)).ravel()
        matrix = np.empty((len(rows) + 1, len(rows) + 1))
        matrix[:-1, :-1] = fisher[rows][:, rows].toarray()
        matrix[-1, :-1] = matrix[:-1, -1] = coupling[rows]
        matrix[-1, -1] = background_fisher
        size = np.sqrt(np.maximum(np.diag(matrix), 1e-30))
        inverse = np.linalg.pinv(matrix / np.outer(size, size), hermitian=True)
        errors[atom] = np.sqrt(np.diag(inverse)[:2]) / size[:2] / intensity[atom]
    return errors


def vacancy_bound(
    expected_full: np.ndarray,
    expected_vacancy: np.ndarray,
    vacancy_share: float,
    *,
    n_draws: int = 4000,
    rng: np.random.Generator | int,
) -> tuple[float, float]:
    """Sites labelled right by a likelihood-ratio test that knows everything but the label.

    Parameters
    ----------
    expected_full : array
        Counts expected in the pixels around a full site.
    expected_vacancy : array
        Counts expected there with a vacancy.
    vacancy_share : float
        How many of the sites are vacancies, 0 to 1.
    n_draws : int
        Sites of each kind that are drawn.
    rng : Generator or int
        Source of the counts.

    Returns
    -------
    (float, float)
        Share of the vacancies, and of the full sites, that are labelled right.

    Examples
    --------
    >>> vacancy_bound(np.full(9, 40.0), np.full(9, 10.0), 0.1, rng=0)
    (1.0, 1.0)
    """
    rng = make_rng(rng)
    full, vacancy = np.ravel(expected_full), np.ravel(expected_vacancy)
    slope = np.log(vacancy / full)
    offset = (full - vacancy).sum() + np.log(vacancy_share / (1 - vacancy_share))
    right_vacancy = rng.poisson(vacancy, (n_draws, vacancy.size)) @ slope + offset > 0
    right_full = rng.poisson(full, (n_draws, full.size)) @ slope + offset <= 0
    return float(right_vacancy.mean()), float(right_full.mean())


def rare_label_bound(separation: np.ndarray, share: np.ndarray | float) -> float:
    """Highest F1 of the rarer of two labels that a test which knows all else can have.

    Parameters
    ----------
    separation : (N,) array
        Of each image: distance of the two hypotheses in standard deviations of the noise, the root
        of Σ (a - b)² / mean(a, b) over the pixels that they change.
    share : float or (N,) array
        How many of the columns have the rarer label, 0 to 1.

    Returns
    -------
    float
        F1 over the columns of all images, as many of each, at the best common threshold of the
        posterior.

    Raises
    ------
    ConfigError
        If there is no image, or a separation or a share is out of its range.

    Notes
    -----
    The log-likelihood ratio is taken to be normal: N(±d²/2, d²).

    Examples
    --------
    >>> round(rare_label_bound(np.array([10.0]), 0.1), 3)
    1.0
    >>> round(rare_label_bound(np.array([1e-6]), 0.1), 3)
    0.182
    """
    distance = np.maximum(np.asarray(separation, float), 1e-9)
    share = np.broadcast_to(np.asarray(share, float), distance.shape)
    if not distance.size or not np.isfinite(distance).all():
        raise ConfigError(f"separation: must be finite numbers, one at least (got {separation})")
    if not ((share > 0) & (share < 1)).all():
        raise ConfigError(
            f"share: must lie between 0 and 1 (got {share.min():g} to {share.max():g})"
        )
    best = 0.0
    for threshold in np.linspace(-12, 12, 481):
        low = (threshold - logit(share)) / distance
        right = float((share * ndtr(distance / 2 - low)).sum())
        wrong = float(((1 - share) * ndtr(-distance / 2 - low)).sum())
        best = max(best, 2 * right / (right + wrong + float(share.sum())))
    return best
