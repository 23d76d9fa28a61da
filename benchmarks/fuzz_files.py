"""Damaged files and odd arrays: `python benchmarks/fuzz_files.py DATA_FOLDER`.

Files of microscope makers are cut, flipped and overwritten at random places and then read; arrays
are spoiled in every way we know and then analyzed. Each input must end in a result or in one of
adatom's own errors, of one line, within 10 s; a run folder is whole or absent.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

LIMIT, START = 10.0, 60.0  # s
GOOD = ("read", "refused")
ENDINGS = (".dm3", ".emd", ".ser", ".sxm", ".tif", ".jpg", ".npy", ".npz")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with real files")
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--arrays", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="100 files and 20 arrays")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 if anything went wrong")
    options = parser.parse_args()
    n_files, n_arrays = (100, 20) if options.quick else (options.files, options.arrays)
    rng = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        files = damage_files(options.data, Path(folder), n_files, rng)
        figures = {"files": campaign(files, read_one)}
        arrays = spoil_arrays(Path(folder), n_arrays, rng)
        figures["arrays"] = campaign(arrays, analyze_one)
    for name, rows in figures.items():
        print_table(name, rows)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    bad = sum(n for rows in figures.values() for row in rows.values() for n in bad_of(row).values())
    print(f"\nwent wrong: {bad}")
    return int(bad > 0 and options.check)


def bad_of(row: dict[str, int]) -> dict[str, int]:
    return {outcome: n for outcome, n in row.items() if outcome not in GOOD}


def damage_files(data: Path, folder: Path, n_files: int, rng: np.random.Generator):
    """Damaged copies of every real file, as (kind, maker of the file)."""
    sources = sorted(p for p in data.rglob("*") if p.suffix in ENDINGS and p.stat().st_size < 2e7)
    by_ending = {e: [p for p in sources if p.suffix == e][:3] for e in ENDINGS}
    sources = [path for paths in by_ending.values() for path in paths]
    for number in range(n_files):
        source = sources[number % len(sources)]
        how = DAMAGES[number // len(sources) % len(DAMAGES)]
        path = folder / f"damaged{source.suffix}"
        path.write_bytes(how(source.read_bytes(), rng))
        yield f"{source.suffix} {how.__name__}", path


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    part = rng.random() if rng.random() < 0.5 else rng.random() ** 6
    return content[: int(part * len(content))]


def flip_bits(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = np.frombuffer(content, np.uint8).copy()
    reach = len(damaged) if rng.random() < 0.5 else min(len(damaged), 4096)
    places = rng.integers(0, reach, int(rng.integers(1, 30)))
    damaged[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return damaged.tobytes()


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    reach = len(damaged) if rng.random() < 0.5 else min(len(damaged), 4096)
    start, n_bytes = int(rng.integers(0, reach)), int(rng.integers(1, 64))
    fill = (bytes(n_bytes), b"\xff" * n_bytes, rng.bytes(n_bytes))[int(rng.integers(3))]
    damaged[start : start + n_bytes] = fill
    return bytes(damaged)


def shift(content: bytes, rng: np.random.Generator) -> bytes:
    start, n_bytes = int(rng.integers(0, len(content))), int(rng.integers(1, 64))
    if rng.random() < 0.5:
        return content[:start] + content[start + n_bytes :]
    return content[:start] + rng.bytes(n_bytes) + content[start:]


DAMAGES = (cut, flip_bits, overwrite, shift)


def spoil_arrays(folder: Path, n_arrays: int, rng: np.random.Generator):
    """Images of MoS2 that something is wrong with, as (kind, path)."""
    from adatom.simulate.example import simulate_example
    from adatom.simulate.recipe import load_recipe

    recipe = load_recipe("haadf_mx2")
    for number in range(n_arrays):
        values = simulate_example(recipe, int(rng.integers(1 << 30))).image.astype(np.float64)
        how = SPOILS[number % len(SPOILS)]
        path = folder / "spoiled.npy"
        np.save(path, how(values, rng))
        yield how.__name__, path


def nothing(values, rng):
    return values


def some_nan(values, rng):
    values[rng.random(values.shape) < 0.01] = np.nan
    return values


def all_nan(values, rng):
    return np.full_like(values, np.nan)


def infinite(values, rng):
    values[int(rng.integers(len(values)))] = rng.choice([np.inf, -np.inf])
    return values


def huge(values, rng):
    return values * 10.0 ** rng.uniform(30, 300)


def tiny(values, rng):
    return values * 10.0 ** rng.uniform(-300, -30)


def constant(values, rng):
    return np.full_like(values, rng.normal())


def negative(values, rng):
    return -values


def one_pixel(values, rng):
    return values[:1, :1]


def strip(values, rng):
    return values[: int(rng.integers(1, 8))]


def color(values, rng):
    return np.repeat(values[..., None], int(rng.integers(2, 5)), axis=2).astype(np.uint8)


def four_axes(values, rng):
    return np.broadcast_to(values[:8, :8], (3, 2, 8, 8))


def complex_numbers(values, rng):
    return values + 1j


def text(values, rng):
    return values[:4, :4].astype(str)


def bits(values, rng):
    return values > np.median(values)


def half(values, rng):
    return values.astype(np.float16)


def swapped(values, rng):
    return values.astype(">i2")


def empty(values, rng):
    return values[:0]


def noise(values, rng):
    return rng.normal(size=values.shape)


def spikes(values, rng):
    values[tuple(rng.integers(0, s, 20) for s in values.shape)] *= 1e6
    return values


def half_black(values, rng):
    values[: len(values) // 2] = 0
    return values


SPOILS = (
    *(nothing, some_nan, all_nan, infinite, huge, tiny, constant, negative, one_pixel, strip),
    *(color, four_axes, complex_numbers, text, bits, half, swapped, empty, noise, spikes),
    half_black,
)


def read_one(path: Path) -> str:
    import adatom
    from adatom.images.read import list_items

    for name, *_ in list_items(path)[:3]:
        np.asarray(adatom.read_image(path, name))
    return "read"


def analyze_one(path: Path) -> str:
    import adatom

    place = path.parent / "result.adatom"
    shutil.rmtree(place, ignore_errors=True)
    config = adatom.AnalyzeConfig(pixel_size=0.2, material="MoS2")
    try:
        adatom.analyze_image(path, place, config=config)
    finally:
        left = [p.name for p in path.parent.glob("*result.adatom*")]
        if left and not (place / "report.html").exists():
            raise RuntimeError(f"half a result: {left}")
    return "read"


def work(pipe: Connection, job: Callable[[Path], str]) -> None:
    """Do one input after the other; say how each ended."""
    import warnings

    from adatom.core.errors import AdatomError

    warnings.simplefilter("ignore")
    while True:
        path = pipe.recv()
        try:
            outcome = job(path)
        except AdatomError as error:
            message = str(error)
            is_plain = "\n" not in message and len(message) < 1000
            outcome = "refused" if is_plain else "long message"
        except Exception as error:  # what a user would see as a traceback
            outcome = f"{type(error).__name__}: {str(error)[:90]}"
        pipe.send(outcome)


def campaign(inputs, job: Callable[[Path], str]) -> dict[str, dict[str, int]]:
    """How many inputs of each kind ended how."""
    context = multiprocessing.get_context("spawn")
    rows: dict[str, Counter[str]] = {}
    process = None
    allowed = LIMIT
    for kind, path in inputs:
        if process is None:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, job), daemon=True)
            process.start()
            theirs.close()
            allowed = LIMIT + START  # a fresh process pays for its imports and for compiling
        ours.send(path)
        try:
            outcome = ours.recv() if ours.poll(allowed) else "hang"
        except EOFError:
            outcome = "crash"
        allowed = LIMIT
        if outcome in ("hang", "crash"):
            process.kill()
            process.join()
            process = None
        rows.setdefault(kind, Counter())[outcome] += 1
        if outcome not in GOOD:
            kept = (
                Path(tempfile.gettempdir()) / f"fuzz_{outcome[:20].replace(' ', '_')}{path.suffix}"
            )
            shutil.copy(path, kept)
            print(f"{kind}: {outcome} (kept as {kept})", flush=True)
    if process is not None:
        process.kill()
    return {kind: dict(row) for kind, row in sorted(rows.items())}


def print_table(name: str, rows: dict[str, dict[str, int]]) -> None:
    print(f"\n{name:24}{'read':>7}{'refused':>9}{'wrong':>7}")
    for kind, row in rows.items():
        print(
            f"{kind:24}{row.get('read', 0):7d}{row.get('refused', 0):9d}"
            f"{sum(bad_of(row).values()):7d}"
        )


if __name__ == "__main__":
    sys.exit(main())
