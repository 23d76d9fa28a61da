"""Models: a network and the card that says what it is, stored as safetensors and JSON."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from adatom.core.config import Config
from adatom.core.errors import ModelError
from adatom.images.normalize import NormalizeConfig
from adatom.networks.compiled import Compiled, compile_network
from adatom.networks.files import find_card, list_cards, load_weights, read_card, save_weights
from adatom.networks.kinds import Network, NetworkConfig, make_network

SHIPPED = "shipped"


class Calibration(Config):
    """How raw network outputs become scores that mean what they say."""

    column_slope: float = Field(1.0, gt=0, description="Factor of the logit of any column.")
    column_offset: float = Field(0.0, description="Added to the logit of any column.")
    weights: tuple[tuple[float, ...], ...] = Field(
        (), description="Label by evidence: weights of the log shares and of the brightness."
    )
    offsets: tuple[float, ...] = Field((), description="Added to the weighted evidence.")
    prior: tuple[float, ...] = Field((), description="Shares of the labels in training.")
    position: tuple[float, float] | None = Field(
        None,
        description="Of focal series: logarithm of the error of a position along an axis, Å, from "
        "the raw logit of its column: offset and slope.",
    )


class ModelCard(Config):
    """What a model is, what it was trained on and where it fails."""

    name: str = Field(description="Name of the model.")
    title: str = Field("", description="One sentence: what it finds in what images.")
    labels: tuple[str, ...] = Field(min_length=1, description="Labels it gives to columns.")
    columns: dict[str, str] = Field({}, description="What column each label stands for.")
    network: NetworkConfig = Field(description="Kind and size of the network.")
    focal_series: tuple[float, ...] = Field(
        (), description="Defoci of the HRTEM images it takes at once, Å; none: one HAADF image."
    )
    pixel_size: float = Field(gt=0, description="Å per pixel that the network works at.")
    pixel_size_range: tuple[float, float] = Field(description="Å per pixel of images it can take.")
    materials: tuple[str, ...] = Field(
        (), description="Materials that it was trained on; none: any lattice."
    )
    defocus_range: tuple[float, float] | None = Field(
        None, description="Å by which all images of a series may be off its defoci."
    )
    dose_range: tuple[float, float] | None = Field(
        None, description="Incident e/Å² that it was trained on."
    )
    peak_electrons_range: tuple[float, float] | None = Field(
        None, description="Detected electrons per Å² at a peak that it was trained on."
    )
    signal_range: tuple[float, float] | None = Field(
        None,
        description="Median of intensity over its error in the images that it was trained on.",
    )
    normalization: NormalizeConfig = Field(description="How images are normalized.")
    families: tuple[tuple[str, ...], ...] = Field(
        (), description="Labels of the same site, told apart by brightness too."
    )
    sublattices: tuple[tuple[str, ...], ...] = Field(
        (),
        description="Labels of the two sublattices of a honeycomb: neighbors are never of one.",
    )
    threshold: float = Field(0.2, ge=0, le=1, description="Lowest raw score of a candidate.")
    min_distance: float = Field(0.9, gt=0, description="Least distance of two columns, Å.")
    calibration: Calibration = Field(Calibration(), description="From outputs to scores.")
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

    @model_validator(mode="after")
    def _fits_itself(self) -> "ModelCard":
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("labels: must differ from each other")
        if any(not family or not set(family) <= set(self.labels) for family in self.families):
            raise ValueError("families: must hold labels of the model")
        named = sorted(label for labels in self.sublattices for label in labels)
        if self.sublattices and (len(self.sublattices) != 2 or named != sorted(self.labels)):
            raise ValueError("sublattices: must be two that share all labels out")
        found, n_labels = self.calibration, len(self.labels)
        n_features = n_labels + 3 * len(self.families)
        if found.weights:
            is_whole = [len(row) for row in found.weights] == [n_features] * n_labels
            if not is_whole or len(found.offsets) != n_labels or len(found.prior) != n_labels:
                raise ValueError("calibration: must have a row, an offset and a prior per label")
            if min(found.prior) <= 0:
                raise ValueError("calibration: the prior of every label must be above 0")
        return self


@dataclass(frozen=True)
class Model:
    """A network ready for use, and its card.

    Attributes
    ----------
    network : Module
        In evaluation mode.
    card : ModelCard
        What it is and where it fails.
    compiled : callable or None
        The same network compiled for this CPU, from `compile_network`.
    """

    network: Network
    card: ModelCard
    compiled: Compiled | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to other processes without what is compiled for this one; compile it there anew."""
        return _revive, (self.network, self.card, self.compiled is not None)


def _revive(network: Network, card: ModelCard, is_compiled: bool) -> Model:
    return Model(network, card, compile_network(network) if is_compiled else None)


def build_network(card: ModelCard) -> Network:
    """Make the network that a card describes, with fresh weights.

    Parameters
    ----------
    card : ModelCard
        Of HAADF images: the network tells labels and background apart; of focal series it draws a
        map of each label.

    Returns
    -------
    Module
        The network.
    """
    if card.focal_series:
        return make_network(card.network, len(card.focal_series), len(card.labels))
    return make_network(card.network, 1, len(card.labels) + 1)


def save_model(model: Model, folder: str | Path) -> Path:
    """Write a model as `NAME.safetensors` (float16) and `NAME.json`.

    Parameters
    ----------
    model : Model
        Network and card; the checksum is filled in.
    folder : str or Path
        Existing folder.

    Returns
    -------
    Path
        The card's file.
    """
    return save_weights(model.network, model.card, folder)


def load_model(name_or_path: str | Path) -> Model:
    """Load a model that ships with adatom, or one from a file.

    Parameters
    ----------
    name_or_path : str or Path
        Name such as "haadf-mx2", or the path of a card (.json) with its weights beside it.

    Returns
    -------
    Model
        The network in evaluation mode, its card, and where OpenVINO is installed the network
        compiled for this CPU, if it takes single images.

    Raises
    ------
    ModelError
        If there is no such model, its card breaks a rule, or its weights are not those of the card.
    """
    path = find_card(name_or_path, SHIPPED)
    card = read_card(path, ModelCard)
    network = build_network(card)
    load_weights(network, path, card.checksum)
    return Model(network, card, None if card.focal_series else compile_network(network))


def list_models() -> list[ModelCard]:
    """Cards of the models that ship with adatom."""
    return [read_card(path, ModelCard) for path in list_cards(SHIPPED)]


def choose_model(material: str | None, *, n_foci: int = 0) -> str:
    """Name of the shipped model that knows a material best.

    Parameters
    ----------
    material : str or None
        Formula, or None where nothing is known of the image.
    n_foci : int
        Images of the focal series; 0 for single images.

    Returns
    -------
    str
        The model that was trained on this material; else, for single images, the one that takes
        any lattice.

    Raises
    ------
    ModelError
        If no shipped model takes it.

    Examples
    --------
    >>> choose_model("MoS2")
    'haadf-mx2'
    """
    cards = [card for card in list_models() if len(card.focal_series) == n_foci]
    for card in cards:
        if material is not None and material in card.materials:
            return card.name
    if n_foci:
        known = ", ".join(card.name for card in cards) or "none"
        raise ModelError(
            f"model: none that ships is chosen for focal series ({n_foci} images) of "
            f"{material or 'unknown material'}; name one with --model (shipped: {known})"
        )
    for card in cards:
        if not card.materials:
            return card.name
    raise ModelError(
        f"model: none of those that ship with adatom knows {material or 'any lattice'}"
    )
