"""The sparse Fisher matrix and its kernels against dense sums over pixels."""

import numpy as np
import pytest

from adatom.detect.columns import PatchGrid, make_background
from adatom.detect.fisher import find_pairs, solve_exactly
from adatom.detect.newton import Newton
from adatom.detect.profile import make_gaussian_profile, tabulate_profile

# A usual image; unequal pixels; a strip narrower than a patch.
CASES = [((44, 52), (0.2, 0.2)), ((44, 52), (0.2, 0.13)), ((9, 60), (0.15, 0.2))]


@pytest.fixture(params=CASES)
def case(request):
    shape, sizes = request.param
    rng = np.random.default_rng(0)
    # Far apart, overlapping, at the rim, and outside.
    positions = np.array(
        [[12.3, 14.8], [12.1, 20.4], [17.7, 16.6], [33.2, 40.9], [0.4, 30], [45, 9]]
    )
    positions = positions * np.array(shape) / [44, 52]
    profile = make_gaussian_profile(np.array([[0.16, 0.03], [0.03, 0.2]]))
    grid = PatchGrid(shape, tabulate_profile(profile, sizes, profile.radius))
    background = make_background(shape, (16, 16))
    weights = rng.uniform(0.5, 2, shape).astype(np.float32)
    pairs = find_pairs(positions * sizes, 2 * profile.radius)
    placement = grid.place(positions)
    joint = (grid, placement, pairs, background, weights, 1e-9)
    columns = []
    for column in range(len(positions)):
        for basis in range(3):
            factors = np.zeros((len(positions), 3))
            factors[column, basis] = 1
            columns.append(grid.spread(placement, factors).ravel())
    n_nodes = background.along_y.shape[1], background.along_x.shape[1]
    for node in range(n_nodes[0] * n_nodes[1]):
        unit = np.zeros(n_nodes)
        unit.flat[node] = 1
        columns.append(background.field(unit).ravel())
    design = np.array(columns, float)
    return joint, design, n_nodes


def test_exact_solution_inverts_dense_matrix(case):
    joint, design, _ = case
    dense = (design * joint[4].ravel()) @ design.T
    right = dense @ np.random.default_rng(1).standard_normal((len(dense), 2))
    solved = solve_exactly(*joint, right)
    np.testing.assert_allclose(dense @ solved, right, atol=2e-4 * np.abs(right).max())


def test_newton_step_agrees_with_exact_solution(case):
    joint, design, n_nodes = case
    grid, placement, _, background, weights, guard = joint
    image = np.random.default_rng(2).standard_normal(design.shape[1])
    gradient = design @ (weights.ravel() * image)
    newton = Newton(grid, placement, background, weights, guard)
    gradients = gradient[:18].reshape(-1, 3), gradient[18:].reshape(n_nodes)
    columns, nodes = newton.solve(placement, weights, *gradients, tolerance=1e-5)
    found = np.concatenate([columns.ravel(), nodes.ravel()])
    explained, exact = found @ design, solve_exactly(*joint, gradient) @ design
    np.testing.assert_allclose(explained, exact, atol=2e-3 * np.abs(exact).max())


def test_projection_is_adjoint_of_rendering(case):
    (grid, placement, *_), design, _ = case
    image = np.random.default_rng(3).standard_normal(grid.shape)
    projected = grid.project(placement, image)
    np.testing.assert_allclose(projected.ravel(), design[:18] @ image.ravel(), rtol=1e-4, atol=1e-4)
