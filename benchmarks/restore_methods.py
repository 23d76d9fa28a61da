"""Methods of `bench_restore.py`: from electrons and a probe to an object function.

Wiener twice: of point scatterers, and "Bragg" for the power of each single frequency of the image
itself, of which DeepSTEM sees the result.
DeepSTEM three times: as it is shipped, trained on simulation by the linear model; that trained on
with the electrons of the first test images themselves (`adatom restore --train`); and a network
that was shown nothing else than these. What DeepSTEM calls background is added to its object, for
the other methods know no background: compared is all that scatters.

Vacancies are looked for where `adatom analyze --restore` looks for columns: in the object as the
same lens without aberrations would show it; of DeepSTEM in its mean where no structure is told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from adatom.core.random import make_child_rng
from adatom.learn.checkpoint import CHECKPOINT
from adatom.networks.probe_views import find_lattice, view_probe
from adatom.networks.restorer import Restorer, load_restorer, save_restorer
from adatom.optics.microscope import Microscope
from adatom.restore.classical import (
    TotalVariationConfig,
    restore_richardson_lucy,
    restore_total_variation,
    restore_wiener,
)
from adatom.restore.imaging import Restoration, show_object
from adatom.restore.object_function import restore_by_network
from adatom.restore.structure import hide_untold, weigh_structure
from adatom.restore.training import Frame, train_restorer
from adatom.simulate.objects import RestoreRecipe
from restore_images import PIXEL, PROBE_PX, SEED, Scene, make_kernel, mistake_lens

Method = Callable[[np.ndarray, np.ndarray], Restoration]

JUDGED = ("DeepSTEM", "DeepSTEM own")  # of which something is asked
WEIGHT = 0.001  # of the total variation, which the search takes at 1e3 to 1e4 e/Å²
N_PROBES = 4  # of a frame to learn from, drawn from its tableau
FRAMES = 30  # key of their random numbers
RAW = "raw"  # the image is its own object


@dataclass(frozen=True)
class Found:
    """What a method makes of an image, electrons per pixel: the object, and a lens's view of it."""

    sharp: np.ndarray
    view: np.ndarray


def look(
    name: str, restored: Restoration, counts: np.ndarray, scene: Scene, *, is_hidden: bool = True
) -> Found:
    """Object by a method, and what the lens would show of it without aberrations.

    Of DeepSTEM the view shows the mean where the electrons tell no structure, if it `is_hidden`.
    """
    sharp = restored.sharpen() + restored.background
    if name == RAW:
        return Found(sharp, sharp)
    view = show_object(restored.object_function, restored.background, make_ideal(scene))
    if is_hidden and name.startswith("DeepSTEM"):
        told = weigh_structure(counts, restored.reconvolved, restored.background, PIXEL)
        view = hide_untold(view, told, PIXEL)
    return Found(sharp, view)


def make_ideal(scene: Scene) -> np.ndarray:
    """What the lens of an image would show of a point, had it no aberrations."""
    names = ("energy_eV", "semi_angle", "source_size")
    return make_kernel(
        Microscope(**{name: getattr(scene.microscope, name) for name in names}), PROBE_PX
    )


def list_methods(
    scenes: list[Scene], doses: tuple[float, ...], folder: Path, *, n_frames: int, n_steps: int
) -> dict[str, Method]:
    """All methods; networks that learn do so once, and are kept in the folder.

    `n_frames` test images are learned from, at each dose, in `n_steps` steps by the shipped network
    and in three times as many by one that knows nothing.
    """
    shipped = load_restorer("deepstem")
    restorers = {"DeepSTEM": shipped}
    frames = [
        make_own_frame(scene, dose, number)
        for number, scene in enumerate(scenes[:n_frames])
        for dose in doses
    ]
    for name, start, share, steps in (
        ("DeepSTEM own", shipped, 0.5, n_steps),
        ("DeepSTEM alone", None, 0.0, 3 * n_steps),
    ):
        own = {"n_steps": steps, "simulated": share, "learning_rate": 1e-3, "seed": SEED}
        restorers[name] = learn_own(frames, folder / name.replace(" ", "_"), shipped, start, own)
    return {
        RAW: keep_raw,
        "Wiener": restore_wiener,
        "Bragg": restore_bragg,
        "RL": restore_richardson_lucy,
        "RL-TV": restore_variation,
    } | {name: partial(restore_by_network, restorer=each) for name, each in restorers.items()}


def keep_raw(counts: np.ndarray, _: np.ndarray) -> Restoration:
    return Restoration(counts.astype(float), counts.astype(float))


def restore_bragg(counts: np.ndarray, probe: np.ndarray) -> Restoration:
    """The frequencies that stand out of the noise, and the mean."""
    image, spot = (torch.from_numpy(each.astype(np.float32))[None] for each in (counts, probe))
    views = view_probe(spot, counts.shape)
    found = counts.mean() + find_lattice(image, views, torch.zeros(1))[0].numpy()
    spot_px = float(views.spot_area / (2 * torch.pi)) ** 0.5
    return Restoration(found, counts.astype(float), spot_px=spot_px)


def restore_variation(counts: np.ndarray, probe: np.ndarray) -> Restoration:
    """Total variation of one weight, stopped where held-out electrons stop it without.

    The search of `restore_total_variation` for both takes ten times as long.
    """
    n_iterations = restore_richardson_lucy(counts, probe).n_iterations
    config = TotalVariationConfig(weight=WEIGHT, n_iterations=n_iterations)
    return restore_total_variation(counts, probe, config=config)


def make_own_frame(scene: Scene, dose: float, number: int) -> Frame:
    """The exposure that is restored, with probes that the tableau allows."""
    rng = make_child_rng(SEED, FRAMES, number)
    lenses = [mistake_lens(scene.microscope, rng, scale=1) for _ in range(N_PROBES)]
    probes = np.stack([make_kernel(lens, PROBE_PX) for lens in lenses])
    return Frame(scene.count(dose, 0, number), probes)


def learn_own(
    frames: list[Frame], folder: Path, shipped: Restorer, start: Restorer | None, own: dict
) -> Restorer:
    """A network trained on frames, from its file if it is there; a stopped training goes on."""
    name = folder.name.replace("_", "-").lower()
    card = folder / f"{name}.json"
    if card.exists():
        return load_restorer(card)
    is_begun = (folder / CHECKPOINT).exists()
    values = RestoreRecipe.from_mapping(shipped.card.recipe, source=name).model_dump(mode="json")
    side = min(values["dataset"]["n_pixels"], *frames[0].counts.shape)
    values["dataset"]["n_pixels"] = side - side % shipped.network.step
    values["training"] |= own | {"name": name}
    recipe = RestoreRecipe.from_mapping(values, source=name)
    begin = None if is_begun else start
    trained = train_restorer(recipe, folder, frames=frames, start=begin, resume=is_begun)
    save_restorer(trained, folder)
    return trained
