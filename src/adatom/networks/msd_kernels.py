"""Compiled loops of the mixed-scale dense network: dilated 3×3 convolutions of few maps.

Tap k of a layer of dilation s looks (k // 3 - 1) s pixels down and (k % 3 - 1) s to the right.
Padded maps reach `pad` pixels further on every side. The loops run over rows, which threads share.
"""

# ruff: noqa: PLR0917 (compiled loops take arrays, not objects)

from numba import njit

FAST = {"reassoc", "contract", "nsz"}  # sums in any order; what is no number stays none


@njit(cache=True, fastmath=FAST, nogil=True)
def add_taps(taps, dilations, pad, sums, top, first, end):
    """Add up what comes through the taps of several layers.

    Parameters
    ----------
    taps : (L, 9, R, W + 2 pad) array
        Of each layer; padded rows from `top` on.
    dilations : (L,) int array
        Of the layers.
    pad : int
        Pixels.
    sums : (L, H, W) array
        Rows are written.
    top, first, end : int
        First row of the taps; first row that is written, and the one after the last.
    """
    width = sums.shape[2]
    for layer in range(len(taps)):
        for y in range(first, end):
            row = sums[layer, y]
            row[:] = 0
            for k in range(9):
                below, aside = (k // 3 - 1) * dilations[layer], (k % 3 - 1) * dilations[layer]
                source = taps[layer, k, y - top + pad + below, pad + aside : pad + aside + width]
                for x in range(width):
                    row[x] += source[x]


@njit(cache=True, fastmath=FAST, nogil=True)
def finish_layer(sums, late, weights, bias, dilation, pad, first, end):
    """Add to a layer what the last maps bring, and rectify it.

    Parameters
    ----------
    sums : (H, W) array
        Changed in place, in rows from `first` to `end`.
    late : (T, H + 2 pad, W + 2 pad) array
        Padded maps.
    weights : (T, 9) array
        Of each map and tap.
    bias : float
        Of the layer.
    dilation, pad, first, end : int
        Pixels; rows.
    """
    width = sums.shape[1]
    for y in range(first, end):
        row = sums[y]
        for t in range(len(late)):
            for k in range(9):
                below, aside = pad + (k // 3 - 1) * dilation, pad + (k % 3 - 1) * dilation
                source, weight = late[t, y + below, aside : aside + width], weights[t, k]
                for x in range(width):
                    row[x] += weight * source[x]
        for x in range(width):
            value = row[x] + bias
            row[x] = 0 if value <= 0 else value


@njit(cache=True, fastmath=FAST, nogil=True)
def spread_layer(change, weights, dilation, pad, late, first, end):
    """Send the gradient of a layer back to the maps that it reads.

    Parameters
    ----------
    change : (H + 4 pad, W + 4 pad) array
        Gradient of its sum, surrounded by zeros.
    weights : (T, 9) array
        Of each map and tap.
    dilation, pad : int
        Pixels.
    late : (T, H + 2 pad, W + 2 pad) array
        Gradients of the padded maps; changed in place, in rows from `first` to `end`.
    first, end : int
        Rows.
    """
    width = late.shape[2]
    for t in range(len(late)):
        for y in range(first, end):
            row = late[t, y]
            for k in range(9):
                below, aside = pad - (k // 3 - 1) * dilation, pad - (k % 3 - 1) * dilation
                source, weight = change[y + below, aside : aside + width], weights[t, k]
                for x in range(width):
                    row[x] += weight * source[x]


@njit(cache=True, fastmath=FAST, nogil=True)
def weigh_layer(change, late, dilation, pad, found, first, end):
    """Find the gradient of the weights of a layer.

    Parameters
    ----------
    change : (H + 4 pad, W + 4 pad) array
        Gradient of its sum, surrounded by zeros.
    late : (T, H + 2 pad, W + 2 pad) array
        Padded maps.
    dilation, pad : int
        Pixels.
    found : (T, 9) float64 array
        Written, from map `first` to `end`.
    first, end : int
        Maps.
    """
    height, width = late.shape[1] - 2 * pad, late.shape[2] - 2 * pad
    for t in range(first, end):
        for k in range(9):
            below, aside = pad + (k // 3 - 1) * dilation, pad + (k % 3 - 1) * dilation
            total = 0.0
            for y in range(height):
                own = change[y + 2 * pad, 2 * pad : 2 * pad + width]
                source = late[t, y + below, aside : aside + width]
                part = own[0] * source[0]
                for x in range(1, width):
                    part += own[x] * source[x]
                total += part
            found[t, k] = total
