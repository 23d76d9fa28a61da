"""Loops over the pixels of all patches, compiled: what a fit spends its time on.

Rows of a patch are short, and what a loop costs besides its pixels counts as much as these. So a
patch is first copied to one line, and worked on there.
"""

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
    table = basis.reshape(len(basis), 3, height * width)
    pixels = image.reshape(-1)
    patch = np.empty(height * width, np.float32)
    for i in range(len(corners)):
        top, left = corners[i]
        low, high = max(0, first - top), min(height, end - top)
        if low >= high:
            continue
        factor_a, factor_b, factor_c = factors[i]
        a, b, c = table[phases[i], 0], table[phases[i], 1], table[phases[i], 2]
        for k in range(len(patch)):
            patch[k] = factor_a * a[k] + factor_b * b[k] + factor_c * c[k]
        for y in range(low, high):
            start, own = np.uint64((top + y) * image.shape[1] + left), np.uint64(y * width)
            for x in range(np.uint64(width)):  # unsigned: no index counts from the end
                pixels[start + x] += patch[own + x]


@njit(cache=True, fastmath=True, nogil=True)
def copy_patch(image, top, left, height, width, patch):
    """Copy pixels of an image to one line, row after row."""
    pixels = image.reshape(-1)
    for y in range(height):
        start, own = np.uint64((top + y) * image.shape[1] + left), np.uint64(y * width)
        for x in range(np.uint64(width)):
            patch[own + x] = pixels[start + x]


@njit(cache=True, fastmath=True, nogil=True)
def sum_patches(image, corners, phases, basis, sums):
    """Sum of image times basis over each patch to `sums`, (N, 3); else as of `add_patches`."""
    height, width = basis.shape[2:]
    table = basis.reshape(len(basis), 3, height * width)
    patch = np.empty(height * width, np.float32)
    for i in range(len(corners)):
        copy_patch(image, corners[i, 0], corners[i, 1], height, width, patch)
        a, b, c = table[phases[i], 0], table[phases[i], 1], table[phases[i], 2]
        sum_a = sum_b = sum_c = np.float32(0)
        for k in range(len(patch)):
            sum_a += patch[k] * a[k]
            sum_b += patch[k] * b[k]
            sum_c += patch[k] * c[k]
        sums[i, 0], sums[i, 1], sums[i, 2] = sum_a, sum_b, sum_c


@njit(cache=True, fastmath=True, nogil=True)
def square_patches(weights, corners, phases, basis, out):
    """Sum of weight times basis times basis over each patch.

    Parameters
    ----------
    weights : (H, W) float32 array
        Weight of every pixel.
    corners, phases, basis
        As of `add_patches`.
    out : (N, 3, 3) float32 array
        The sums.
    """
    height, width = basis.shape[2:]
    table = basis.reshape(len(basis), 3, height * width)
    patch = np.empty(height * width, np.float32)
    for i in range(len(corners)):
        copy_patch(weights, corners[i, 0], corners[i, 1], height, width, patch)
        a, b, c = table[phases[i], 0], table[phases[i], 1], table[phases[i], 2]
        sum_aa = sum_bb = sum_cc = np.float32(0)
        for k in range(len(patch)):
            sum_aa += patch[k] * a[k] * a[k]
            sum_bb += patch[k] * b[k] * b[k]
            sum_cc += patch[k] * c[k] * c[k]
        sum_ab = sum_ac = sum_bc = np.float32(0)
        for k in range(len(patch)):
            sum_ab += patch[k] * a[k] * b[k]
            sum_ac += patch[k] * a[k] * c[k]
            sum_bc += patch[k] * b[k] * c[k]
        out[i, 0, 0], out[i, 1, 1], out[i, 2, 2] = sum_aa, sum_bb, sum_cc
        out[i, 0, 1] = out[i, 1, 0] = sum_ab
        out[i, 0, 2] = out[i, 2, 0] = sum_ac
        out[i, 1, 2] = out[i, 2, 1] = sum_bc


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
        Patches.
    out : (M, 3, 3) float32 array
        The sums: basis of the first patch by that of the second.
    """
    height, width = basis.shape[2:]
    weight = np.empty(height * width, np.float32)
    mine, other = np.empty_like(weight), np.empty((3, height * width), np.float32)
    for m in range(len(pairs)):
        i, j = pairs[m]
        down, right = corners[j] - corners[i]
        y, x = max(0, down), max(0, right)
        n_y, n_x = height - abs(down), width - abs(right)
        if n_y <= 0 or n_x <= 0:
            out[m] = 0
            continue
        copy_patch(weights, corners[i, 0] + y, corners[i, 1] + x, n_y, n_x, weight)
        for k in range(3):
            copy_patch(basis[phases[j], k], y - down, x - right, n_y, n_x, other[k])
        a, b, c = other[0], other[1], other[2]
        for k in range(3):
            copy_patch(basis[phases[i], k], y, x, n_y, n_x, mine)
            sum_a = sum_b = sum_c = np.float32(0)
            for p in range(n_y * n_x):
                value = weight[p] * mine[p]
                sum_a += value * a[p]
                sum_b += value * b[p]
                sum_c += value * c[p]
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
