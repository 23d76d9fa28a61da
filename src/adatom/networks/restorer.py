"""Restorers: networks for object functions, with the cards that say what they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from adatom.core.config import Config
from adatom.networks.deepstem import DeepSTEM
from adatom.networks.files import (
    find_card,
    list_cards,
    load_weights,
    read_card,
    read_values,
    save_weights,
)
from adatom.networks.kinds import DeepSTEMConfig
from adatom.networks.model import ModelCard, load_model

SHIPPED = "restorers"


class RestorerCard(Config):
    """What a restorer is, what it was trained on and where it fails."""

    name: str = Field(description="Name of the model.")
    title: str = Field("", description="One sentence: what it restores from what images.")
    network: DeepSTEMConfig = Field(description="Size of the network.")
    peak_electrons_range: tuple[float, float] | None = Field(
        None, description="Detected electrons per Å² at a peak that it was trained on."
    )
    frames: tuple[str, ...] = Field(
        (), description="SHA-256 of the images without truth that it was trained on too."
    )
    recipe: dict[str, Any] = Field({}, description="Recipe that rebuilds the model.")
    start: dict[str, Any] = Field(
        {}, description="Model it was trained on from: name, checksum, recipe, steps, its start."
    )
    n_steps: int = Field(0, ge=0, description="Steps it was trained for.")
    seed: int = Field(0, description="Seed of images and weights.")
    versions: dict[str, str] = Field({}, description="Versions of what trained it.")
    scores: dict[str, float] = Field({}, description="Figures on held-out simulation.")
    limits: tuple[str, ...] = Field((), description="Where it fails.")
    checksum: str = Field("", description="SHA-256 of the weights file.")


@dataclass(frozen=True)
class Restorer:
    """A network for object functions ready for use, and its card.

    Attributes
    ----------
    network : DeepSTEM
        In evaluation mode.
    card : RestorerCard
        What it is and where it fails.
    """

    network: DeepSTEM
    card: RestorerCard


def save_restorer(restorer: Restorer, folder: str | Path) -> Path:
    """Write a restorer as `NAME.safetensors` (float16) and `NAME.json`.

    Parameters
    ----------
    restorer : Restorer
        Network and card; the checksum is filled in.
    folder : str or Path
        Existing folder.

    Returns
    -------
    Path
        The card's file.
    """
    return save_weights(restorer.network, restorer.card, folder)


def load_restorer(name_or_path: str | Path) -> Restorer:
    """Load a restorer that ships with adatom, or one from a file.

    Parameters
    ----------
    name_or_path : str or Path
        Its name, or the path of a card (.json) with its weights beside it.

    Returns
    -------
    Restorer
        Ready for use.

    Raises
    ------
    ModelError
        If there is none, its card breaks a rule, or its weights are not those of the card.
    """
    path = find_card(name_or_path, SHIPPED)
    card = read_card(path, RestorerCard)
    network = DeepSTEM(card.network.widths)
    load_weights(network, path, card.checksum)
    return Restorer(network, card)


def list_restorers() -> list[RestorerCard]:
    """Cards of the restorers that ship with adatom."""
    return [read_card(path, RestorerCard) for path in list_cards(SHIPPED)]


def load_card(name_or_path: str | Path) -> ModelCard | RestorerCard:
    """Load the card of a model of either kind, whose weights are checked.

    Parameters
    ----------
    name_or_path : str or Path
        Name of a shipped one, or the path of a card.

    Returns
    -------
    ModelCard or RestorerCard
        The card.

    Raises
    ------
    ModelError
        If there is none, or its weights are not those of the card.
    """
    if str(name_or_path) in {card.name for card in list_restorers()}:
        return load_restorer(name_or_path).card
    path = Path(name_or_path)
    if path.suffix == ".json" and read_values(path).get("labels") is None:
        return load_restorer(path).card
    return load_model(name_or_path).card
