"""``[training]``: how long, in what portions, and what is watched."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from jcnn.augmentations import AnyAugmentation
from jcnn.errors import UserError
from jcnn.fields import (
    LARGEST,
    Count,
    FilePath,
    Flag,
    Fraction,
    Natural,
    NonNegativeReal,
    PositiveReal,
    Table,
)
from jcnn.views import View, views

Pattern = Annotated[str, Field(min_length=1)]


def _steps(value: Any) -> Any:
    if value == "auto":
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < LARGEST:
        return value
    raise PydanticCustomError("steps", 'expected "auto" or a positive integer')


def _file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


class InitialWeights(Table):
    """``initial_weights``: a file that training begins with, and what of it.

    Attributes:
        file: A ``.safetensors`` file under PyTorch's names.
        ignore: Patterns (``"classifier.6.*"``) of tensors, under the model's names: what fits keeps
            its random values, or those that the training images give, and is passed over in the
            file.
        replace: Regular expressions and what takes their place in the file's names, in their order:
            ``{"^module[.]" = ""}``.
    """

    file: FilePath
    ignore: tuple[Pattern, ...] = ()
    replace: dict[str, str] = Field(default={})


class EarlyStopping(Table):
    """``early_stopping``: end when the metric has not become better for a while.

    It is measured on the validation split where there is one, else on the test split.

    Attributes:
        metric: What is watched.
        patience: Evaluations without improvement after which training ends.
        min_delta: An improvement is more than this.
        restore_best: Whether the run ends with the state of the best evaluation.
    """

    metric: Literal["loss", "accuracy"] = "loss"
    patience: Count = 5
    min_delta: NonNegativeReal = 0.0
    restore_best: Flag = True


class Training(Table):
    """``[training]``: how long and in what portions.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Examples per batch.
        accumulate_batches: Batches whose mean gradient makes one step of the optimizer: as if the
            batch were so many times as large, apart from batch statistics.
        max_seconds: Training ends after the first dispatch beyond so many seconds, compilation and
            earlier sessions included, and is evaluated; no limit where not given.
        early_stopping: When to end before the last epoch; never where not given.
        evaluate_every_epochs: Epochs between evaluations; the last epoch is always evaluated.
        evaluate_max_seconds: An evaluation on the way ends after the first batches beyond so many
            seconds, the splits of it one after another with so many each; it is of examples that
            are drawn once, and its rows say of how many. The last one of a training is of all.
        metrics: What evaluations measure beside loss and accuracy.
        histograms: Whether TensorBoard is given histograms of weights and gradients, and the first
            layer's filters as images, at each evaluation.
        precision: Dtype of the activations; parameters, statistics and loss are float32 in any
            case, and in float16 the loss is scaled by a power of two that adapts itself, so that
            small gradients are not lost.
        matmul_precision: What the factors of products may be rounded to, of convolutions and dense
            layers and their gradients, in training and evaluation; sums are of float32. A name of
            ``jax.default_matmul_precision``, which holds where not given.
        steps_per_dispatch: Steps that the device takes on its own; "auto" aims at half a second.
        augment: Random changes of the training images, in their order.
        average_decay: Decay per step of the optimizer of a running average of the parameters and of
            the running statistics, which evaluation then uses; no average where not given.
        mirrored_evaluation: Whether evaluation and prediction take the mean of the outputs for an
            image and for its mirror image.
        shifted_evaluation: Pixels by which an image is moved to and fro along either axis and
            both, its mirror image entering at the border; where given, evaluation and prediction
            take the mean of the outputs for the image and for these eight, mirrored too where
            ``mirrored_evaluation`` says so.
        initial_weights: A ``.safetensors`` file under PyTorch's names that training begins with, or
            a table with ``file``, ``ignore`` and ``replace``; random weights where not given.
        checkpoint_every_seconds: Seconds between checkpoints, which are written behind the
            training; 0 writes one wherever one can be.
        keep_best: Whether the checkpoint with the best test accuracy is kept beside the newest;
            early stopping that restores its own best keeps that in its place.
        on_nonfinite: What a loss or a gradient that is infinite or not a number does: "stop" the
            run, or "skip" the step, which then changes nothing but the count of steps.
    """

    epochs: Count = 10
    batch_size: Count = 64
    accumulate_batches: Count = 1
    max_seconds: PositiveReal | None = None
    early_stopping: EarlyStopping | None = None
    evaluate_every_epochs: Count = 1
    evaluate_max_seconds: PositiveReal | None = None
    metrics: tuple[Literal["top_5", "f1", "recall", "confusion_matrix"], ...] = ()
    histograms: Flag = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    matmul_precision: Literal["bfloat16", "tensorfloat32", "float32"] | None = None
    steps_per_dispatch: Annotated[Any, BeforeValidator(_steps)] = "auto"
    augment: tuple[AnyAugmentation, ...] = ()
    average_decay: Fraction | None = None
    mirrored_evaluation: Flag = False
    shifted_evaluation: Natural = 0
    initial_weights: Annotated[InitialWeights, BeforeValidator(_file)] | None = None
    checkpoint_every_seconds: NonNegativeReal = 60.0
    keep_best: Flag = False
    on_nonfinite: Literal["stop", "skip"] = "stop"

    @property
    def views(self) -> tuple[View, ...]:
        """The views of an image whose outputs' mean is its prediction."""
        return views(self.mirrored_evaluation, self.shifted_evaluation)

    @model_validator(mode="after")
    def _check_evaluations(self) -> Training:
        """Refuse to look for the best of evaluations that were not of the same examples."""
        judging = "early_stopping" if self.early_stopping else "keep_best" if self.keep_best else ""
        if self.evaluate_max_seconds and judging:
            raise UserError(
                f"training.evaluate_max_seconds and training.{judging} exclude each other: "
                f"{judging} compares evaluations, expected each of them to be of all examples"
            )
        return self
