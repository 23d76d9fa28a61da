"""Peak memory of the whole way, by the size of an image and the number of frames of a movie.

`python benchmarks/bench_memory.py`: each row runs in a process of its own. Counted is what a
process holds for itself, looked at every 20 ms; pages of a mapped file, which the system drops
when it wants to, are shown in brackets with the rest.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

GOAL = 1.2  # peak of the large over that of the small


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs=2, default=(4096, 16384))
    parser.add_argument("--frames", type=int, nargs=2, default=(20, 400))
    parser.add_argument(
        "--pixel-size", type=float, default=0.2, help="Å: fine pixels hold fewer columns"
    )
    parser.add_argument("--images-only", action="store_true", help="no movies")
    parser.add_argument("--quick", action="store_true", help="3500² and 5000², 4 and 12 frames")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--analyze", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.analyze:
        return analyze(options.analyze, options.pixel_size)
    sizes, frames = ((3500, 5000), (4, 12)) if options.quick else (options.sizes, options.frames)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"image": sizes} if options.images_only else {"image": sizes, "movie": frames}
        for kind, numbers in kinds.items():
            peaks = []
            for number in numbers:
                path = Path(folder) / "input.npy"
                write = write_image if kind == "image" else write_movie
                write(path, number, make_tile(options.pixel_size))
                pixel_size = ["--pixel-size", str(options.pixel_size)]
                command = [sys.executable, __file__, "--analyze", str(path), *pixel_size]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                own, with_pages = map(float, done.stdout.splitlines()[-1].split())
                peaks.append(own)
                print(f"{kind} {number:6}: {own:8.0f} MiB at most ({with_pages:.0f})", flush=True)
            figures[kind] = {"peaks_MiB": peaks, "ratio": peaks[1] / peaks[0]}
            print(f"{kind}: ratio {figures[kind]['ratio']:.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return int(options.check and max(row["ratio"] for row in figures.values()) > GOAL)


def analyze(path: Path, pixel_size: float) -> int:
    import adatom

    config = adatom.AnalyzeConfig(pixel_size=pixel_size, material="MoS2")
    peak = 0.0

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, measure_own())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    adatom.analyze_image(path, tempfile.mkdtemp(dir=path.parent), config=config)
    print(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return 0


def measure_own() -> float:
    """Memory that this process holds without mapped files, MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def make_tile(pixel_size: float) -> np.ndarray:
    """A sheet of MoS2, 102 Å wide."""
    from bench_time import PIXEL, make_image

    n_fine = round(PIXEL / pixel_size)
    coarse = make_image(512).to_numpy().astype(np.float32)
    return np.repeat(np.repeat(coarse, n_fine, axis=0), n_fine, axis=1)


def write_image(path: Path, size: int, tile: np.ndarray) -> None:
    image = np.lib.format.open_memmap(path, "w+", np.float32, (size, size))
    for top in range(0, size, len(tile)):
        for left in range(0, size, len(tile)):
            part = image[top : top + len(tile), left : left + len(tile)]
            part[:] = tile[: part.shape[0], : part.shape[1]]
    image.flush()


def write_movie(path: Path, n_frames: int, tile: np.ndarray) -> None:
    movie = np.lib.format.open_memmap(path, "w+", np.float32, (n_frames, *tile.shape))
    for number in range(n_frames):
        movie[number] = np.roll(tile, number, axis=1)
    movie.flush()


if __name__ == "__main__":
    sys.exit(main())
