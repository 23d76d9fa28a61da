"""What a training leaves in its folder: checkpoint, best weights, history."""

import csv
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adatom.core.config import Config
from adatom.core.errors import ConfigError, FileError, ModelError

BEST, CHECKPOINT, HISTORY = "best.safetensors", "checkpoint.safetensors", "history.csv"


@dataclass
class TrainingState:
    """Where a training stands.

    Attributes
    ----------
    step : int
        Steps taken.
    best_loss : float
        Lowest loss on held-out images.
    best_step : int
        Step at which it was reached.
    start : dict
        What the card says of the model whose weights it began with; empty: drawn weights.
    """

    step: int = 0
    best_loss: float = math.inf
    best_step: int = 0
    start: dict[str, Any] = field(default_factory=dict)


def tell_start(card: Config) -> dict[str, Any]:
    """What the card of a training says of the model that it goes on from.

    Parameters
    ----------
    card : ModelCard or RestorerCard
        Of that model.

    Returns
    -------
    dict
        Its name, checksum, recipe, steps and own start.
    """
    told = {"name", "checksum", "recipe", "n_steps", "start"}
    return card.model_dump(mode="json", include=told, exclude_defaults=True)


def check_folder(checkpoint: Path, recipe: Config, resume: bool) -> None:
    """Refuse to write over a training, and to go on with one that is not there or another's.

    Parameters
    ----------
    checkpoint : Path
        Where the checkpoint lies, or will.
    recipe : Config
        What is to be trained.
    resume : bool
        Whether a training is to go on.

    Raises
    ------
    FileError
        If there is a training and `resume` is off, or none and it is on.
    ConfigError
        If the training that is there has another recipe.
    """
    if checkpoint.exists() and not resume:
        raise FileError(
            f"{checkpoint.parent}: holds a training already; resume it or name another folder"
        )
    if resume and not checkpoint.exists():
        raise FileError(f"{checkpoint.parent}: holds no training to resume")
    if resume:
        _check_recipe(checkpoint, recipe)


def write_history(folder: Path, step: int, loss: float, held_out: float) -> None:
    """Add one row to the history of a training.

    Parameters
    ----------
    folder : Path
        Folder of the training.
    step : int
        Step of the row.
    loss, held_out : float
        Running loss, and that on held-out images.
    """
    path = folder / HISTORY
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["step", "loss", "held_out_loss"])
        writer.writerow([step, f"{loss:.6f}", f"{held_out:.6f}"])


def save_whole(
    state: dict[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors beside, then rename: a file that is there is whole.

    Parameters
    ----------
    state : dict of str to tensor
        What to save.
    path : Path
        The file.
    metadata : dict of str to str, optional
        What the header says besides.
    """
    beside = path.with_name(path.name + ".part")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, beside, metadata)
    os.replace(beside, path)


def save_checkpoint(  # noqa: PLR0917
    path: Path,
    recipe: Config,
    network: torch.nn.Module,
    average: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: TrainingState,
) -> None:
    """Save all that a training needs to go on to the same weights.

    Parameters
    ----------
    path : Path
        The file.
    recipe : Config
        What is trained; only the same recipe may go on.
    network, average : Module
        Weights that learn, and their moving average.
    optimizer : Optimizer
        With its moments.
    progress : TrainingState
        Where the training stands.
    """
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    state |= {f"average.{k}": v.clone() for k, v in average.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        state |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    state["progress"] = torch.tensor(
        [progress.step, progress.best_loss, progress.best_step], dtype=torch.float64
    )
    save_whole(
        state, path, {"recipe": recipe.model_dump_json(), "start": json.dumps(progress.start)}
    )


def _check_recipe(path: Path, recipe: Config) -> None:
    """Refuse to go on with another recipe: the card would claim what is not true."""
    if _read_header(path).get("recipe") != recipe.model_dump_json():
        raise ConfigError(f"{path}: was trained with another recipe; name a new folder")


def _read_header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


def load_checkpoint(
    path: Path, network: torch.nn.Module, average: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState:
    """Load a checkpoint into networks and optimizer.

    Parameters
    ----------
    path : Path
        The file.
    network, average : Module
        Changed in place.
    optimizer : Optimizer
        Changed in place.

    Returns
    -------
    TrainingState
        Where the training stands.

    Raises
    ------
    ModelError
        If the file holds another network.
    """
    state = load_file(path)

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    try:
        network.load_state_dict(part("network."))
        average.load_state_dict(part("average."))
    except RuntimeError as error:
        raise ModelError(f"{path}: holds another network than the recipe's") from error
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in part("optimizer.").items():
        index, key = name.split(".", 1)
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    step, best_loss, best_step = state["progress"].tolist()
    start = json.loads(_read_header(path)["start"])
    return TrainingState(int(step), best_loss, int(best_step), start)
