"""An experiment: one typed value, one TOML file."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import suppress
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import jax
from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from jcnn.axes import times
from jcnn.config.mesh import Distributed, Mesh
from jcnn.config.paths import anchor, find_config, shipped
from jcnn.config.toml import to_toml
from jcnn.config.tracking import Tracking
from jcnn.config.training import Training
from jcnn.data import AnyData
from jcnn.errors import UserError, nearest
from jcnn.fields import Shape, Table, check_images, plain
from jcnn.layers import AnyLayer, Layer, Model
from jcnn.losses import AnyLoss, SoftmaxCrossEntropy
from jcnn.optimizers import Optimizer
from jcnn.validation import explain, one_of_several


def _is_folder_name(value: str) -> str:
    if value in ("", ".", "..") or set(value) & set("/\\\0"):
        raise PydanticCustomError("name", "expected the name of a folder, without slashes")
    # so short that a system takes what is put behind it, too
    if not value.isprintable() or len(os.fsencode(value)) > 200:
        raise PydanticCustomError(
            "name", "expected the name of a folder, 200 bytes at most, that can be shown"
        )
    return value


class Experiment(Table):
    """Data, model, loss, optimizer and training; made by :func:`load_experiment`.

    Attributes:
        name: The file's stem where not given; a run's folder is named after it.
        seed: Fixes initial values, shuffling, augmentation and dropout.
        data: The data set.
        layers: The model's layers, in their order.
        loss: What is minimised; ``softmax_cross_entropy`` where its table has no ``name``.
        optimizer: An optimizer of Optax.
        training: How long and in what portions.
        mesh: How training is spread over devices; one device where not given, and all of them
            with ``--distributed``.
        distributed: How several processes find each other.
        tracking: Where metrics go beside the run's own files.
    """

    name: Annotated[str, AfterValidator(_is_folder_name)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0
    data: AnyData
    loss: AnyLoss = SoftmaxCrossEntropy()
    optimizer: Optimizer
    training: Training = Training()
    mesh: Mesh | None = None
    distributed: Distributed | None = None
    tracking: Tracking | None = None
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
        try:
            output = self.model.output_shape(self.input_shape)
        except UserError as error:  # the layer may be right, and what the data give it small
            given = f"an example of the data is {times(self.input_shape)}"
            raise UserError(f"{error}; {given}") from None
        self._check_last_layer()
        self.loss.check_output(output, self.class_count)
        self.loss.check_classes(self.class_count)
        if self.optimizer.names_layers:
            key = jax.random.key(0)
            params, _ = jax.eval_shape(lambda: self.model.init(key, self.input_shape))
            self.optimizer.check_layers(params)
        for augmentation in self.training.augment:
            augmentation.check_input(self.input_shape)
        self._check_views()
        return self

    def _check_views(self) -> None:
        """Refuse to mirror or move what is no image, and to move all of it out of sight."""
        for views in ("mirrored_evaluation", "shifted_evaluation"):
            if getattr(self.training, views):
                check_images(f"training.{views}", self.input_shape)
        pixels, size = self.training.shifted_evaluation, self.input_shape[:2]
        if pixels and pixels >= min(size):
            raise UserError(
                f"training.shifted_evaluation: images are {times(size)}, "
                f"expected less than {min(size)}, found {pixels}"
            )

    def _check_last_layer(self) -> None:
        """Refuse the layer that the loss holds itself: it would be applied twice."""
        name, last = self.output_layer
        if last.type == self.loss.includes:
            raise UserError(
                f"layer '{name}' ({last.type}) stands before the loss '{self.loss.name}', which "
                f"computes the {last.type} itself: expected the model to end without it"
            )

    @property
    def output_layer(self) -> tuple[str, Layer]:
        """Name and layer that the outputs come from: the last that does more than to shape them."""
        named = [*zip(self.model.names, self.layers, strict=True)]
        shaping = ("flatten", "reshape")
        return next((pair for pair in reversed(named) if pair[1].type not in shaping), named[-1])

    @property
    def frozen(self) -> frozenset[str]:
        """Names of the layers that do not learn: those whose rate is 0."""
        return frozenset(name for name in self.model.names if self.optimizer.rate(name) == 0)

    def resolved(self) -> Experiment:
        """Return it with all that it knows only from the disk written down: the classes' names."""
        return self.model_copy(update={"data": self.data.resolved()})

    def to_toml(self) -> str:
        """Write everything, defaults too; :func:`load_experiment` reads it back unchanged."""
        return to_toml(self.model_dump(mode="json", exclude_none=True))


_SWEEP = "sweep"  # a table of the file, not of one experiment, but of many: jcnn.sweep reads it


def load_experiment(
    path: str | PathLike[str], overrides: Mapping[str, object] | None = None
) -> Experiment:
    """Read and check an experiment.

    Args:
        path: A TOML file, or the name of one that comes with jcnn (``"digits"``). Relative paths
            in it are seen from its own folder, if they lead somewhere there.
        overrides: Values that take the place of the file's, by dotted key: ``"training.epochs"``,
            ``"layers.0.features"`` (layers are numbered from 0 here).

    Raises:
        UserError: The file is missing or is not TOML, a key is unknown or has a wrong value, or
            the layers do not fit; one sentence names the key, what was expected and what was found.
    """
    path = find_config(Path(path))
    document = _read(path)
    document.setdefault("name", path.stem)
    document.pop(_SWEEP, None)
    written = set(document)
    for key, value in (overrides or {}).items():
        _override(document, key, deepcopy(plain(value)))
    if isinstance(loss := document.setdefault("loss", {}), dict):
        loss.setdefault("name", SoftmaxCrossEntropy().name)
    anchor(document, path.parent, overrides or {})
    try:
        return Experiment.model_validate(document)
    except ValidationError as error:
        key, message = explain(error, Experiment, document, also=(_SWEEP,))
        raise UserError(f"{_place(path, key, overrides or {}, written)}: {message}") from None


def parse_override(text: str) -> tuple[str, object]:
    """Split ``key=value``, the value being TOML or, failing that, a bare string.

    >>> parse_override("training.epochs=3"), parse_override("optimizer.name=adam")
    (('training.epochs', 3), ('optimizer.name', 'adam'))
    """
    key, equals, written = text.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise UserError(f"expected key=value, such as training.epochs=3, found '{text}'")
    try:
        parsed = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):  # no TOML, an endless number or nesting
        return key.strip(), written.strip()
    return key.strip(), parsed["value"] if len(parsed) == 1 else written.strip()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        hint = _beside(path) or nearest(path.stem, shipped())
        raise UserError(
            f"{path} does not exist{hint}: expected an experiment's TOML file, or one that comes "
            f"with jcnn ({', '.join(shipped())})"
        ) from None
    except IsADirectoryError:
        raise UserError(
            f"{path} is a folder{_beside(path)}: expected an experiment's TOML file"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a text file in UTF-8: expected TOML") from None
    except tomllib.TOMLDecodeError as error:
        hint = _lists_as_tables(path.read_text(encoding="utf-8-sig"))
        raise UserError(f"{path} is not valid TOML: {error}{hint}") from None
    except (ValueError, RecursionError):
        raise UserError(
            f"{path} is not valid TOML: a number of thousands of digits, or lists within lists"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


def _beside(path: Path) -> str:
    """Hint at a file that has the name with its ending."""
    file = Path(f"{path}.toml")
    with suppress(OSError):  # the longer name may be too long
        if file.is_file():
            return f" (did you mean '{file}'?)"
    return ""


def _lists_as_tables(text: str) -> str:
    """Hint at a list of tables that was written as one table, of which TOML allows a single one."""
    for found in re.finditer(r"^\s*\[\s*([\w.]+)\s*\]", text, re.MULTILINE):
        if hint := one_of_several(Experiment, found[1].split(".")):
            return f"; {hint}"
    return ""


# Tables that may be written as one of their keys alone.
_SHORT = {"training.initial_weights": "file"}


def _override(document: dict[str, Any], key: str, value: object) -> None:
    """Put a value in its place; whether its last name exists is seen when all is checked."""
    *parents, last = key.split(".")
    if _SWEEP in (key, *parents[:1]):
        raise UserError(
            f"--set {key}: [{_SWEEP}] is read from the file alone; expected --over or --seeds of "
            "jcnn sweep"
        )
    here: Any = document
    for depth, part in enumerate(parents):
        place = ".".join(parents[:depth])
        if isinstance(here, list):
            here = here[_index(here, part, key, place)]
        elif isinstance(here, dict):
            written = here.setdefault(part, {})
            if isinstance(written, str) and (first := _SHORT.get(".".join(parents[: depth + 1]))):
                here[part] = {first: written}
            here = here[part]
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
    if part.isdecimal() and len(part) < 10 and int(part) < len(here):
        return int(part)
    raise UserError(
        f"--set {key}: {place} is a list, whose entries are 0 to {len(here) - 1}, not '{part}'"
    )


def _place(path: Path, key: str, overrides: Mapping[str, object], written: Collection[str]) -> str:
    """Name the override where the mistake is in one, otherwise the file, and the key.

    Args:
        path: The file.
        key: Where the mistake is.
        overrides: What took the place of the file's values.
        written: The file's own keys, of its top.
    """
    for override in overrides:
        if key == override or key.startswith(f"{override}."):
            return f"--set {key}"
        # A table that --set made.
        if key.partition(".")[0] not in written and override.startswith(f"{key}."):
            return f"--set {override}: {key}"
    return f"{path}: {key}" if key else str(path)
