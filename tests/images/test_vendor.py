"""Files of microscope makers: written here where a library can, else those of others."""

import shutil
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
from rsciio.hspy import file_writer

from adatom.core.errors import FileError, ImageError
from adatom.images import pixel_size, vendor
from adatom.images.read import describe_file, list_items, read_image

SHARED = Path(__file__).parents[3] / "shared" / "data" / "vendor"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/vendor")
BEAM = {"beam_energy": 80.0, "beam_current": 0.03, "dwell_time": 4e-6}
VALUES = np.random.default_rng(0).uniform(1, 2, (12, 16)).astype(np.float32)


def write_nanonis(path: Path, *, direction: str = "down") -> None:
    header = (
        ":NANONIS_VERSION:\n2\n:SCAN_PIXELS:\n       16       12\n:SCAN_RANGE:\n"
        f"           3.2E-9           1.2E-9\n:SCAN_DIR:\n{direction}\n:DATA_INFO:\n"
        "\tChannel\tName\tUnit\tDirection\tCalibration\tOffset\n"
        "\t14\tZ\tm\tboth\t8.97E-9\t0.0\n\t0\tCurrent\tA\tforward\t1E-9\t0.0\n\n:SCANIT_END:\n\n\n"
    )
    data = np.stack([VALUES, VALUES[:, ::-1] + 1, VALUES + 2]).astype(">f4")
    path.write_bytes(header.encode() + b"\x1a\x04" + data.tobytes())


def pack_gwyddion(name: str, components: dict) -> bytes:
    """An object of Gwyddion's native format, from its user guide."""
    inside = b""
    for key, value in components.items():
        inside += key.encode() + b"\0"
        if isinstance(value, np.ndarray):
            inside += b"D" + struct.pack("<I", value.size) + value.astype("<f8").tobytes()
        elif isinstance(value, str):
            inside += b"s" + value.encode() + b"\0"
        elif isinstance(value, dict):
            inside += b"o" + pack_gwyddion(
                value["is"], {k: v for k, v in value.items() if k != "is"}
            )
        elif isinstance(value, float):
            inside += b"d" + struct.pack("<d", value)
        else:
            inside += b"i" + struct.pack("<i", value)
    return name.encode() + b"\0" + struct.pack("<I", len(inside)) + inside


def write_gwyddion(path: Path) -> None:
    components = {}
    for number, unit in enumerate(("m", "")):
        components[f"/{number}/data"] = {
            "is": "GwyDataField",
            "xres": 16,
            "yres": 12,
            "xreal": 3.2e-9,
            "yreal": 1.2e-9,
            "si_unit_xy": {"is": "GwySIUnit", "unitstr": unit},
            "si_unit_z": {"is": "GwySIUnit", "unitstr": "m"},
            "data": VALUES.ravel(),
        }
        components[f"/{number}/data/title"] = "Topography"
    path.write_bytes(b"GWYP" + pack_gwyddion("GwyContainer", components))


def write_hyperspy(path: Path, *, units: str = "nm") -> None:
    axes = [
        {
            "name": name,
            "size": n,
            "scale": scale,
            "offset": 0.0,
            "units": unit,
            "navigate": navigate,
        }
        for name, n, scale, unit, navigate in (
            ("time", 3, 50.0, "ms", True),
            ("y", 12, 0.01, units, False),
            ("x", 16, 0.02, units, False),
        )
    ]
    signal = {
        "data": np.stack([VALUES, VALUES + 1, VALUES + 2]),
        "axes": axes,
        "metadata": {
            "General": {"title": "HAADF movie"},
            "Signal": {"signal_type": ""},
            "Acquisition_instrument": {"TEM": BEAM},
        },
        "original_metadata": {},
        "learning_results": {},
        "models": {},
        "package": "",
        "package_version": "",
        "attributes": {"_lazy": False, "ragged": False},
        "tmp_parameters": {},
        "package_info": {"package": "adatom", "package_version": "0"},
    }
    file_writer(str(path), signal)


AXES = (("Time", 0.5, 5, "s"), ("Y", 0.01, 12, "n_m"), ("X", 0.02, 16, "n_m"))


def fill_group(group: h5py.Group, values: np.ndarray, start: int = 1) -> None:
    group.attrs["emd_group_type"] = 1
    group["data"] = values
    for number, (name, step, n, unit) in enumerate(AXES[-values.ndim :], start=start):
        group[f"dim{number}"] = step * np.arange(n)
        group[f"dim{number}"].attrs.update({"name": np.bytes_(name), "units": np.bytes_(unit)})


def write_berkeley(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update(version_major=0, version_minor=2)
        fill_group(file.create_group("data/scan"), VALUES)
        file.create_group("microscope").attrs["high tension"] = 200e3


WRITERS = {
    ".sxm": write_nanonis,
    ".gwy": write_gwyddion,
    ".hspy": write_hyperspy,
    ".emd": write_berkeley,
}


@pytest.mark.parametrize("direction", ["down", "up"])
def test_nanonis_channels_lie_as_they_were_scanned(tmp_path, direction):
    write_nanonis(tmp_path / "a.sxm", direction=direction)
    names = [name for name, *_ in list_items(tmp_path / "a.sxm")]
    assert names == ["Z forward", "Z backward", "Current forward"]
    expected = VALUES if direction == "down" else VALUES[::-1]
    for name, added in zip(names, (0, 1, 2), strict=True):
        image = read_image(tmp_path / "a.sxm", name)
        np.testing.assert_allclose(image, expected + added)
        assert pixel_size(image) == pytest.approx((1.0, 2.0))
        assert image.attrs["modality"] == "STM"
    assert image.attrs["units"] == "A"


def test_gwyddion_channels(tmp_path):
    write_gwyddion(tmp_path / "a.gwy")
    first, second = describe_file(tmp_path / "a.gwy")["items"]
    assert (first["name"], second["name"]) == ("Topography", "Topography 1")
    assert first["pixel_size"] == pytest.approx((1.0, 2.0))
    assert second["pixel_size"] is None
    np.testing.assert_allclose(read_image(tmp_path / "a.gwy", "Topography"), VALUES)


def test_hyperspy_movie_has_times(tmp_path):
    write_hyperspy(tmp_path / "a.hspy")
    movie = read_image(tmp_path / "a.hspy")
    assert movie.dims == ("frame", "y", "x")
    np.testing.assert_allclose(movie[2], VALUES + 2)
    np.testing.assert_allclose(movie.time, [0, 0.05, 0.1])
    assert pixel_size(movie) == pytest.approx((0.1, 0.2))
    assert movie.attrs["energy_eV"] == 80e3
    assert movie.attrs["beam_current_pA"] == pytest.approx(30)
    assert movie.attrs["dwell_time_us"] == pytest.approx(4)
    assert movie.attrs["modality"] == "HAADF"


def test_berkeley_image_is_not_turned(tmp_path):
    write_berkeley(tmp_path / "a.emd")
    image = read_image(tmp_path / "a.emd")
    np.testing.assert_array_equal(image, VALUES)
    assert pixel_size(image) == pytest.approx((0.1, 0.2))
    assert image.attrs["energy_eV"] == 200e3


@pytest.mark.parametrize("is_lazy", [False, True])
@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize(("version_at", "start"), [("/", 1), ("data", 1), ("/", 0)])
def test_berkeley_files_of_all_kinds_keep_their_axes(  # noqa: PLR0917
    tmp_path, monkeypatch, version_at, start, n_axes, is_lazy
):
    values = VALUES if n_axes == 2 else np.stack([VALUES + n for n in range(5)])
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file.create_group("data")
        file[version_at].attrs.update(version_major=1 - start, version_minor=2)
        fill_group(file["data"].create_group("scan"), values, start)
    if is_lazy:
        monkeypatch.setattr(vendor, "LAZY_BYTES", 100)
    image = read_image(tmp_path / "a.emd")
    assert image.dims == ("frame", "y", "x")[-n_axes:]
    np.testing.assert_array_equal(image, values)
    assert pixel_size(image) == pytest.approx((0.1, 0.2))
    if n_axes == 3:
        np.testing.assert_allclose(image.time, 0.5 * np.arange(5))


def test_berkeley_groups_are_images_of_their_own(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file.attrs.update(version_major=0, version_minor=5)
        for number in range(3):
            fill_group(file.create_group(f"data/scan{number}"), VALUES + number)
    assert [shape for _, shape, _ in list_items(tmp_path / "a.emd")] == [VALUES.shape] * 3
    np.testing.assert_array_equal(read_image(tmp_path / "a.emd", "scan2"), VALUES + 2)


@pytest.mark.parametrize("units", ["1/nm", "Å^-1", "mrad", "keV"])
def test_diffraction_and_spectra_are_no_images(tmp_path, units):
    write_hyperspy(tmp_path / "a.hspy", units=units)
    with pytest.raises(FileError, match="holds no image"):
        read_image(tmp_path / "a.hspy")


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("name", ["a.tif", "a.unknown"])
def test_content_counts_not_the_name(tmp_path, ending, name):
    WRITERS[ending](tmp_path / f"right{ending}")
    shutil.copy(tmp_path / f"right{ending}", tmp_path / name)
    right, lying = (list_items(tmp_path / file) for file in (f"right{ending}", name))
    assert [shape for _, shape, _ in lying] == [shape for _, shape, _ in right]


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_truncated_files_are_one_line(tmp_path, ending, share):
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    WRITERS[ending](whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises((FileError, ImageError), match="cut") as caught:
        read_image(cut, list_items(cut)[0][0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", WRITERS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, ending):
    """A small part of benchmarks/fuzz_files.py."""
    rng = np.random.default_rng(7)
    WRITERS[ending](tmp_path / f"whole{ending}")
    content = np.frombuffer((tmp_path / f"whole{ending}").read_bytes(), np.uint8)
    path, refusals = tmp_path / f"damaged{ending}", []
    for _ in range(40):
        damaged = content.copy()
        places = rng.integers(0, min(len(content), 2500), int(rng.integers(1, 12)))
        damaged[places] = rng.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            for name, *_ in list_items(path)[:2]:
                read_image(path, name)
        except (FileError, ImageError) as error:
            refusals.append(str(error))
    assert refusals
    assert all(str(path) in text and "\n" not in text for text in refusals)


@needs_shared
@pytest.mark.parametrize(
    ("name", "item", "size", "energy"),
    [
        ("srtio3.ser", "srtio3", 0.1001, None),
        ("perovskite_berkeley.emd", "single", 0.1225, 200e3),
        ("stm_topography.sxm", "Current forward", 0.1953, None),
        ("se_implanted_mos2.dm3", "SI Survey Image (active)", 0.1270, None),
    ],
)
def test_files_of_others(tmp_path, name, item, size, energy):
    image = read_image(SHARED / name, item)
    assert pixel_size(image) == pytest.approx((size, size), abs=1e-4)
    assert image.attrs.get("energy_eV") == energy
    shutil.copy(SHARED / name, tmp_path / "lying.png")
    found = list_items(tmp_path / "lying.png")
    assert image.shape in [shape for _, shape, _ in found]
