"""What every recipe says of how a network learns, and of the model for people."""

from typing import Self

from pydantic import Field, model_validator

from adatom.core.config import Config


class LearningConfig(Config):
    """How a network learns."""

    name: str = Field("unnamed", pattern=r"^[A-Za-z0-9][\w.-]*$", description="Name of the model.")
    n_steps: int = Field(20000, gt=0, description="Steps of the optimizer.")
    n_cycles: int = Field(1, gt=0, description="Falls of the learning rate to zero in that time.")
    batch_size: int = Field(8, gt=0, description="Images per step.")
    learning_rate: float = Field(2e-3, gt=0, description="Highest learning rate.")
    weight_decay: float = Field(1e-4, ge=0, description="Decay of the weights (AdamW).")
    average: float = Field(0.999, ge=0, lt=1, description="Moving average of the weights.")
    n_validation: int = Field(48, gt=0, description="Held-out images for the loss.")
    validate_every: int = Field(500, gt=0, description="Steps between two looks at them.")
    patience: int = Field(
        20,
        gt=0,
        description="Looks without improvement before it stops, in the second half of a cycle.",
    )
    seed: int = Field(1, ge=0, description="Seed of images and weights.")

    @model_validator(mode="after")
    def _has_steps_for_its_cycles(self) -> Self:
        if self.n_cycles > self.n_steps:
            raise ValueError(f"n_cycles must be at most n_steps (got {self.n_cycles})")
        return self


class CardConfig(Config):
    """What the card of the model says to people."""

    title: str = Field("", description="One sentence: what it finds in what images.")
    columns: dict[str, str] = Field({}, description="What column each label stands for.")
    limits: tuple[str, ...] = Field((), description="Where it fails.")
