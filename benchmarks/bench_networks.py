"""Time and memory of the networks for focal series, all in one run.

`python benchmarks/bench_networks.py`: mixed-scale dense network (100 layers) one layer after the
other, on one buffer, and in blocks; the published and the compact U-Net. Three images in, three
maps out. Each row runs in a process of its own; memory is what it takes besides what it imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from adatom.core.workers import count_cores
from adatom.networks.kinds import MSDNetConfig, ResidualUNetConfig, UNetConfig, make_network
from adatom.networks.msdnet import MSDNet

GOAL = 20  # naive pass over blocks
ROWS = {
    "MSD-net, naive": "msdnet",
    "MSD-net, one buffer": "msdnet",
    "MSD-net, blocks": "msdnet",
    "U-net, published": "residual",
    "U-net, compact": "unet",
}
KINDS = {
    "msdnet": MSDNetConfig(kind="msdnet"),
    "residual": ResidualUNetConfig(kind="residual"),
    "unet": UNetConfig(kind="unet"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=(512, 1024))
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts")
    parser.add_argument("--quick", action="store_true", help="256², forward only")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        name, job, size = options.row
        return time_row(name, job, int(size), options.repeats)
    figures: dict[str, dict] = {}
    sizes, jobs = ((256,), ("forward",)) if options.quick else (options.sizes, ("forward", "step"))
    for size in sizes:
        for job in jobs:
            for name in ROWS:
                # Training one layer after the other holds all copies; a buffer cannot be trained.
                if job == "step" and (name.endswith("buffer") or (size > 512 and "naive" in name)):
                    continue
                command = [sys.executable, __file__, "--row", name, job, str(size)]
                command += ["--repeats", str(1 if "naive" in name else options.repeats)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds, memory = map(float, done.stdout.split())
                key = f"{name}, {job}, {size}"
                figures[key] = {"seconds": seconds, "MiB": memory}
                print(f"{key:40} {seconds:8.2f} s {memory:8.0f} MiB", flush=True)
    ratios = [
        figures[f"MSD-net, naive, forward, {size}"]["seconds"]
        / figures[f"MSD-net, blocks, forward, {size}"]["seconds"]
        for size in sizes
    ]
    print("naive over blocks:", *(f"{ratio:.1f}" for ratio in ratios))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return int(options.check and min(ratios) < GOAL)


def time_row(name: str, job: str, size: int, repeats: int) -> int:
    torch.set_num_threads(count_cores())
    network = make_network(KINDS[ROWS[name]], 3, 3)
    if not isinstance(network, MSDNet):
        network = network.to(memory_format=torch.channels_last)
    run = network
    if isinstance(network, MSDNet):
        network.draw_weights(np.random.default_rng(1))
        run = {"naive": network.forward_naively, "buffer": forward_on_buffer(network)}.get(
            name.rsplit(maxsplit=1)[-1], network
        )
    small, image = torch.randn(1, 3, 64, 64), torch.randn(1, 3, size, size)
    work = {"forward": look, "step": learn}[job]
    work(network, run, small)  # what is compiled or planned once
    before = peak()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work(network, run, image)
        seconds.append(time.perf_counter() - start)
    print(min(seconds), peak() - before)
    return 0


def look(network: torch.nn.Module, run, image: torch.Tensor) -> None:
    network.eval()
    with torch.inference_mode():
        run(image)


def learn(network: torch.nn.Module, run, image: torch.Tensor) -> None:
    network.train()
    network.zero_grad()
    run(image).square().mean().backward()


def forward_on_buffer(network: MSDNet):
    """One convolution a layer on one padded buffer, without gradients."""

    def run(image: torch.Tensor) -> torch.Tensor:
        pad, (height, width) = max(network.dilations), image.shape[-2:]
        n = image.shape[1] + len(network.weights)
        maps = image.new_empty(1, n, height + 2 * pad, width + 2 * pad)
        rows, columns = (
            torch.from_numpy(np.pad(np.arange(side), pad, mode="symmetric"))
            for side in (height, width)
        )
        maps[:, : image.shape[1]] = image[:, :, rows][:, :, :, columns]
        for i, (dilation, weight) in enumerate(
            zip(network.dilations, network.weights, strict=True)
        ):
            trim = pad - dilation
            inner = slice(trim, maps.shape[2] - trim), slice(trim, maps.shape[3] - trim)
            seen = maps[:, : image.shape[1] + i, *inner]
            bias = network.biases[i : i + 1]
            new = torch.nn.functional.conv2d(seen, weight[None], bias, dilation=dilation).relu()
            maps[:, image.shape[1] + i] = new[0, :, rows][:, :, columns]
        return network.head(maps[..., pad : pad + height, pad : pad + width])

    return run


def peak() -> float:
    """Largest memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
