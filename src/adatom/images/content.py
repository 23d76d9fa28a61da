"""What a file is by its first bytes, whatever its name says."""

from pathlib import Path

import h5py

SIGNATURES = {
    b"\x00\x00\x00\x03": ".dm3",
    b"\x00\x00\x00\x04": ".dm4",
    b"II\x97\x01": ".ser",
    b"JK\x00\x02": ".emi",
    b"GWYP": ".gwy",
    b":NANONIS_VERSION:": ".sxm",
    b"II*\x00": ".tif",
    b"MM\x00*": ".tif",
    b"II+\x00": ".tif",
    b"MM\x00+": ".tif",
    b"\x89PNG\r\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"\x93NUMPY": ".npy",
    b"PK\x03\x04": ".npz",
}
MRC_MARK, MRC_PLACE = b"MAP ", 208
HDF5_MARK = b"\x89HDF\r\n\x1a\n"


def recognize_content(path: Path) -> str | None:
    """Recognize the format of a file by its content.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str or None
        The usual ending of its name, such as ".tif"; None if the content is of no known kind.
    """
    with path.open("rb") as file:
        head = file.read(256)
    if head[MRC_PLACE : MRC_PLACE + len(MRC_MARK)] == MRC_MARK:
        return ".mrc"
    if head.startswith(HDF5_MARK):
        return _recognize_hdf5(path)
    return next((ending for mark, ending in SIGNATURES.items() if head.startswith(mark)), None)


def _recognize_hdf5(path: Path) -> str | None:
    """HyperSpy files say so; all others are tried as .emd."""
    try:
        with h5py.File(path, "r") as file:
            return ".hspy" if "Experiments" in file else ".emd"
    except (OSError, RuntimeError, KeyError):
        return None
