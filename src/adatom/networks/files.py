"""Models on disk: weights as safetensors, and a card as JSON beside them."""

import hashlib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from adatom.core.config import Config
from adatom.core.errors import ConfigError, FileError, ModelError

AnyCard = TypeVar("AnyCard", bound=Config)


def save_weights(network: torch.nn.Module, card: Config, folder: str | Path) -> Path:
    """Write `NAME.safetensors` (float16) and `NAME.json`, whole or not at all.

    Parameters
    ----------
    network : Module
        The weights.
    card : Config
        With `name` and `checksum`, which is filled in.
    folder : str or Path
        Existing folder.

    Returns
    -------
    Path
        The card's file.

    Raises
    ------
    FileError
        If the folder cannot be written.
    """
    state = {
        name: tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    weights = save(state)
    values = card.model_dump(mode="json") | {"checksum": hashlib.sha256(weights).hexdigest()}
    path = Path(folder) / f"{values['name']}.json"
    text = json.dumps(values, indent=1, ensure_ascii=False)
    try:
        for target, content in ((path.with_suffix(".safetensors"), weights), (path, text.encode())):
            beside = target.with_name(target.name + ".part")
            beside.write_bytes(content)
            os.replace(beside, target)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror})") from error
    return path


def load_weights(network: torch.nn.Module, path: Path, checksum: str) -> None:
    """Load the weights that belong to a card.

    Parameters
    ----------
    network : Module
        Changed in place, and left in evaluation mode.
    path : Path
        The card's file.
    checksum : str
        SHA-256 of the weights file by the card.

    Raises
    ------
    ModelError
        If the weights cannot be read, or are not those of the card or of this network.
    """
    file = path.with_suffix(".safetensors")
    try:
        weights = file.read_bytes()
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(weights).hexdigest() != checksum:
        raise ModelError(f"{file}: its checksum is not that of the card {path.name}")
    try:
        state = {name: tensor.float() for name, tensor in load(weights).items()}
        absent, unknown = network.load_state_dict(state, strict=False)
        absent = [name for name in absent if not name.endswith("num_batches_tracked")]
        if absent or unknown or not all(bool(t.isfinite().all()) for t in state.values()):
            raise ModelError(f"{file}: lacks numbers of its network")
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{file}: does not hold the network of its card") from error
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def find_card(name_or_path: str | Path, folder: str) -> Path:
    """Find the card of a model.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped model, or the path of a card or of its weights.
    folder : str
        Folder of `adatom.networks` that holds the shipped ones.

    Returns
    -------
    Path
        The card's file.

    Raises
    ------
    ModelError
        If it is neither a .json file nor a shipped name.
    """
    path = Path(name_or_path)
    if path.suffix == ".safetensors":
        path = path.with_suffix(".json")
    if path.suffix == ".json":
        return path
    path = _shipped(folder) / f"{name_or_path}.json"
    if not path.exists():
        known = ", ".join(card.stem for card in list_cards(folder)) or "none"
        raise ModelError(
            f"model: must be a .json card or one of {known} (got {str(name_or_path)!r})"
        )
    return path


def list_cards(folder: str) -> list[Path]:
    """Cards that ship with adatom in a folder of `adatom.networks`."""
    return sorted(_shipped(folder).glob("*.json"))


def read_card(path: Path, kind: type[AnyCard]) -> AnyCard:
    """Read a card.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        What it must be.

    Returns
    -------
    Config
        The checked card.

    Raises
    ------
    ModelError
        If it cannot be read, or breaks a rule.
    """
    try:
        return kind.from_mapping(read_values(path), source=str(path))
    except ConfigError as error:
        raise ModelError(str(error)) from error


def read_values(path: Path) -> dict[str, Any]:
    """What a card says, unchecked.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        As JSON has it.

    Raises
    ------
    ModelError
        If it cannot be read, or is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: is not a model card ({error})") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: is not a model card")
    return values


def _shipped(folder: str) -> Path:
    return Path(str(resources.files("adatom.networks"))) / folder
