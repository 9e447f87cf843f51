"""An experiment: one typed value, one TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from jcnn.augmentations import AnyAugmentation
from jcnn.config.toml import to_toml
from jcnn.config.validation import explain
from jcnn.data import AnyData
from jcnn.errors import UserError
from jcnn.fields import Count, Flag, Fraction, Shape, Table, check_images
from jcnn.layers import AnyLayer, Model
from jcnn.losses import AnyLoss, SoftmaxCrossEntropy
from jcnn.optimizers import Optimizer


def _steps(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise PydanticCustomError("steps", 'expected "auto" or a positive integer')


def _is_folder_name(value: str) -> str:
    if value in ("", ".", "..") or set(value) & set("/\\\0"):
        raise PydanticCustomError("name", "expected the name of a folder, without slashes")
    return value


class Training(Table):
    """``[training]``: how long and in what portions.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Examples per step.
        evaluate_every_epochs: Epochs between evaluations; the last epoch is always evaluated.
        precision: Dtype of the computation; parameters and loss are float32 in any case.
        steps_per_dispatch: Steps that the device takes on its own; "auto" aims at half a second.
        augment: Random changes of the training images, in their order.
        average_decay: Decay per step of a running average of the parameters and of the running
            statistics, which evaluation then uses; no average where not given.
        mirrored_evaluation: Whether evaluation and prediction take the mean of the outputs for an
            image and for its mirror image.
        initial_weights: A ``.safetensors`` file under PyTorch's names that training begins with;
            random weights where not given.
    """

    epochs: Count = 10
    batch_size: Count = 64
    evaluate_every_epochs: Count = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    steps_per_dispatch: Annotated[Any, BeforeValidator(_steps)] = "auto"
    augment: tuple[AnyAugmentation, ...] = ()
    average_decay: Fraction | None = None
    mirrored_evaluation: Flag = False
    initial_weights: Annotated[str, Field(min_length=1)] | None = None


class Experiment(Table):
    """Data, model, loss, optimizer and training; made by :func:`load_experiment`.

    Attributes:
        name: The file's stem where not given; a run's folder is named after it.
        seed: Fixes initial values, shuffling, augmentation and dropout.
        data: The data set.
        layers: The model's layers, in their order.
        loss: What is minimised.
        optimizer: An optimizer of Optax.
        training: How long and in what portions.
    """

    name: Annotated[str, AfterValidator(_is_folder_name)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0
    data: AnyData
    loss: AnyLoss = SoftmaxCrossEntropy()
    optimizer: Optimizer
    training: Training = Training()
    layers: Annotated[tuple[AnyLayer, ...], Field(min_length=1)]

    @property
    def model(self) -> Model:
        """The model that the layers make."""
        return Model(self.layers)

    @property
    def input_shape(self) -> Shape:
        """Shape of one example, channels last."""
        return self.data.input_shape

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.data.class_names)

    @model_validator(mode="after")
    def _check_fit(self) -> Experiment:
        output = self.model.output_shape(self.input_shape)
        self.loss.check_output(output, self.class_count)
        for augmentation in self.training.augment:
            augmentation.check_input(self.input_shape)
        if self.training.mirrored_evaluation:
            check_images("training.mirrored_evaluation", self.input_shape)
        return self

    def resolved(self) -> Experiment:
        """Return it with all that it knows only from the disk written down: the classes' names."""
        return self.model_copy(update={"data": self.data.resolved()})

    def to_toml(self) -> str:
        """Write everything, defaults too; :func:`load_experiment` reads it back unchanged."""
        return to_toml(self.model_dump(mode="json", exclude_none=True))


def load_experiment(
    path: str | PathLike[str], overrides: Mapping[str, object] | None = None
) -> Experiment:
    """Read and check an experiment.

    Args:
        path: A TOML file.
        overrides: Values that take the place of the file's, by dotted key: ``"training.epochs"``,
            ``"layers.0.features"`` (layers are numbered from 0 here).

    Raises:
        UserError: The file is missing or is not TOML, a key is unknown or has a wrong value, or
            the layers do not fit; one sentence names the key, what was expected and what was found.
    """
    path = Path(path)
    document = _read(path)
    document.setdefault("name", path.stem)
    document.pop("sweep", None)  # not of one experiment, but of many: jcnn.sweep reads it
    document.setdefault("loss", {"name": "softmax_cross_entropy"})
    for key, value in (overrides or {}).items():
        _override(document, key, deepcopy(value))
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        key, message = explain(error, Experiment, document)
        raise UserError(f"{_place(path, key, overrides or {})}: {message}") from None


def parse_override(text: str) -> tuple[str, object]:
    """Split ``key=value``, the value being TOML or, failing that, a bare string.

    >>> parse_override("training.epochs=3"), parse_override("optimizer.name=adam")
    (('training.epochs', 3), ('optimizer.name', 'adam'))
    """
    key, equals, written = text.partition("=")
    if not equals or not key.strip():
        raise UserError(f"expected key=value, such as training.epochs=3, found '{text}'")
    try:
        parsed = tomllib.loads(f"value = {written}")
    except tomllib.TOMLDecodeError:
        return key.strip(), written.strip()
    return key.strip(), parsed["value"] if len(parsed) == 1 else written.strip()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: expected an experiment's TOML file") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: expected an experiment's TOML file") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8: expected TOML") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _override(document: dict[str, Any], key: str, value: object) -> None:
    """Put a value in its place; whether its last name exists is seen when all is checked."""
    *parents, last = key.split(".")
    here: Any = document
    for depth, part in enumerate(parents):
        place = ".".join(parents[:depth])
        if isinstance(here, list):
            here = here[_index(here, part, key, place)]
        elif isinstance(here, dict):
            here = here.setdefault(part, {})
        else:
            raise UserError(f"--set {key}: {place} is {here!r}, which holds no '{part}'")
    place = ".".join(parents)
    if isinstance(here, list):
        here[_index(here, last, key, place)] = value
    elif isinstance(here, dict):
        here[last] = value
    else:
        raise UserError(f"--set {key}: {place} is {here!r}, which holds no '{last}'")


def _index(here: list[Any], part: str, key: str, place: str) -> int:
    if part.isdecimal() and int(part) < len(here):
        return int(part)
    raise UserError(
        f"--set {key}: {place} is a list, whose entries are 0 to {len(here) - 1}, not '{part}'"
    )


def _place(path: Path, key: str, overrides: Mapping[str, object]) -> str:
    """Name the override where the mistake is in one, otherwise the file, and the key."""
    for override in overrides:
        if key == override or key.startswith(f"{override}."):
            return f"--set {key}"
    return f"{path}: {key}" if key else str(path)
