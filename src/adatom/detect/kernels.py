"""Loops over the pixels of all patches, compiled: what a fit spends its time on."""

# ruff: noqa: PLR0917 (compiled loops take arrays, not objects)

import numpy as np
from numba import njit


@njit(cache=True, fastmath=True, nogil=True)
def add_patches(image, corners, phases, factors, basis, first, end):
    """Add to rows of an image, for each patch, its three bases times their factors.

    Parameters
    ----------
    image : (H, W) float32 array
        Changed in place; every patch lies inside.
    corners : (N, 2) int array
        First pixel [y, x] of each patch.
    phases : (N,) int array
        Row of the table.
    factors : (N, 3) float32 array
        Factor of each basis.
    basis : (R, 3, h, w) float32 array
        Table of bases.
    first, end : int
        First of the rows, and the one after the last.
    """
    height, width = basis.shape[2:]
    for i in range(len(corners)):
        top, left = corners[i]
        factor_a, factor_b, factor_c = factors[i]
        table = basis[phases[i]]
        for y in range(max(0, first - top), min(height, end - top)):
            row = image[top + y, left : left + width]
            a, b, c = table[0, y], table[1, y], table[2, y]
            for x in range(width):
                row[x] += factor_a * a[x] + factor_b * b[x] + factor_c * c[x]


@njit(cache=True, fastmath=True, nogil=True)
def sum_patches(image, corners, phases, basis, sums):
    """Sum of image times basis over each patch to `sums`, (N, 3); else as of `add_patches`."""
    height, width = basis.shape[2:]
    for i in range(len(corners)):
        top, left = corners[i]
        table = basis[phases[i]]
        sum_a = sum_b = sum_c = np.float32(0)
        for y in range(height):
            row = image[top + y, left : left + width]
            a, b, c = table[0, y], table[1, y], table[2, y]
            for x in range(width):
                value = row[x]
                sum_a += value * a[x]
                sum_b += value * b[x]
                sum_c += value * c[x]
        sums[i, 0], sums[i, 1], sums[i, 2] = sum_a, sum_b, sum_c


@njit(cache=True, fastmath=True, nogil=True)
def couple_patches(weights, corners, phases, basis, pairs, out):
    """Sum of weight times basis times basis over the common pixels of pairs of patches.

    Parameters
    ----------
    weights : (H, W) float32 array
        Weight of every pixel.
    corners, phases, basis
        As of `add_patches`.
    pairs : (M, 2) int array
        Patches; one with itself gives its own matrix.
    out : (M, 3, 3) float32 array
        The sums: basis of the first patch by that of the second.
    """
    height, width = basis.shape[2:]
    for m in range(len(pairs)):
        i, j = pairs[m]
        down, right = corners[j] - corners[i]
        first_y, last_y = max(0, down), min(height, height + down)
        first_x, n_x = max(0, right), width - abs(right)
        table, other = basis[phases[i]], basis[phases[j]]
        for k in range(3):
            sum_a = sum_b = sum_c = np.float32(0)
            for y in range(first_y, last_y):
                line = weights[corners[i, 0] + y, corners[i, 1] + first_x :]
                mine = table[k, y, first_x:]
                a = other[0, y - down, first_x - right :]
                b = other[1, y - down, first_x - right :]
                c = other[2, y - down, first_x - right :]
                for x in range(n_x):
                    value = line[x] * mine[x]
                    sum_a += value * a[x]
                    sum_b += value * b[x]
                    sum_c += value * c[x]
            out[m, k, 0], out[m, k, 1], out[m, k, 2] = sum_a, sum_b, sum_c


@njit(cache=True, fastmath=True, nogil=True)
def couple_nodes(weights, corners, phases, basis, along_y, along_x, first, out):
    """Sum of weight times basis times the share of each near node over each patch.

    Parameters
    ----------
    weights : (H, W) float32 array
        Weight of every pixel.
    corners, phases, basis
        As of `add_patches`.
    along_y, along_x : (K, H) and (L, W) float32 arrays
        Share of each row and each column of nodes in the pixels.
    first : (N, 2) int array
        First near node [y, x] of each patch.
    out : (N, 3, n_y, n_x) float32 array
        The sums are added to it.
    """
    height, width = basis.shape[2:]
    n_y, n_x = out.shape[2:]
    scaled = np.empty(width, np.float32)
    for i in range(len(corners)):
        top, left = corners[i]
        for c in range(3):
            table = basis[phases[i], c]
            for y in range(height):
                row = weights[top + y, left : left + width]
                for x in range(width):
                    scaled[x] = row[x] * table[y, x]
                for b in range(n_x):
                    share = along_x[first[i, 1] + b, left : left + width]
                    total = np.float32(0)
                    for x in range(width):
                        total += scaled[x] * share[x]
                    for a in range(n_y):
                        out[i, c, a, b] += along_y[first[i, 0] + a, top + y] * total


@njit(cache=True, fastmath=True, nogil=True)
def sum_products(image, corners, along_y, along_x, sums):
    """Sum over each patch of image times a function of y times a function of x.

    Parameters
    ----------
    image : (H, W) float32 array
        The image; every patch lies inside.
    corners : (N, 2) int array
        First pixel [y, x] of each patch.
    along_y : (N, A, h) float32 array
        Functions of y.
    along_x : (N, B, w) float32 array
        Functions of x.
    sums : (N, A, B) float32 array
        The sums are added to it.
    """
    n_y, height = along_y.shape[1:]
    n_x, width = along_x.shape[1:]
    for i in range(len(corners)):
        top, left = corners[i]
        for y in range(height):
            row = image[top + y, left : left + width]
            for b in range(n_x):
                total = np.float32(0)
                for x in range(width):
                    total += row[x] * along_x[i, b, x]
                for a in range(n_y):
                    sums[i, a, b] += along_y[i, a, y] * total


@njit(cache=True, fastmath=True, nogil=True)
def add_products(images, corners, along_y, along_x, orders):
    """Add to images, for each patch, products of a function of y and a function of x.

    Parameters
    ----------
    images : (K, H, W) float32 array
        One image for each product; changed in place, every patch lies inside.
    corners, along_y, along_x
        As of `sum_products`.
    orders : (K, 2) int array
        Functions of y and of x whose product goes to each image.
    """
    height, width = along_y.shape[2], along_x.shape[2]
    for k in range(len(orders)):
        order_y, order_x = orders[k]
        image = images[k]
        for i in range(len(corners)):
            top, left = corners[i]
            function = along_x[i, order_x]
            for y in range(height):
                factor = along_y[i, order_y, y]
                row = image[top + y, left : left + width]
                for x in range(width):
                    row[x] += factor * function[x]
