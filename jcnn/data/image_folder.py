"""Images in one folder per class, as ImageNet has them, read in training (Krizhevsky et al. 2012).

``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. Grain decodes and cuts them in worker processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from jcnn.data.base import DataConfig, Dataset, Split
from jcnn.data.folder import data_folder
from jcnn.data.folder_scan import ImageList, class_folders, list_images
from jcnn.data.grain_stream import GrainStream
from jcnn.data.preparation import Evaluation, ImagePreparation
from jcnn.errors import UserError
from jcnn.fields import Count, Flag, Natural, NonNegativeReal, PositiveReal, Real, Shape

Rgb = tuple[Real, Real, Real]


class ImageFolder(DataConfig):
    """``name = "image_folder"``: RGB images of any size, cut to ``image_size`` x ``image_size``.

    For training: the shorter side is made ``resize`` long, a random square is cut out, mirrored
    half of the time, and the colours are shifted along their principal axes. For testing: the
    square in the middle.

    Attributes:
        folder: the folder with the splits, seen from the data folder (or a full path).
        classes: the classes' names in the order of their numbers; or how many there are, and their
            names are those of the training folders, sorted.
        train_folder: the training images, seen from ``folder``.
        test_folder: the test images, seen from ``folder``; ImageNet calls them ``val``.
        image_size: the side of the square that the network sees.
        resize: the length of an image's shorter side before the square is cut.
        mirror: whether training images are mirrored, left to right, half of the time.
        color_shift: the standard deviation of the three random factors of the colour shift, one per
            principal axis and image; 0 turns it off.
        color_scales: what each factor is multiplied by, on the scale of pixels in [0, 1].
        color_axes: the principal axes of the colours, one row per axis. Scales and axes default to
            those of ImageNet that fb.resnet.torch uses.
        mean: subtracted from each channel of pixels in [0, 1]; by default ImageNet's.
        standard_deviation: what the difference is divided by; by default ImageNet's.
        worker_count: processes that prepare images; 0 stands for threads of this one.
    """

    name: Literal["image_folder"] = "image_folder"
    folder: str
    classes: Count | Annotated[tuple[str, ...], Field(min_length=1)]
    train_folder: str = "train"
    test_folder: str = "test"
    image_size: Count = 227
    resize: Count = 256
    mirror: Flag = True
    color_shift: NonNegativeReal = 0.1
    color_scales: Rgb = (0.2175, 0.0188, 0.0045)
    color_axes: tuple[Rgb, Rgb, Rgb] = (
        (-0.5675, -0.5808, -0.5836),
        (0.7192, -0.0045, -0.6948),
        (0.4009, -0.8140, 0.4203),
    )
    mean: Rgb = (0.485, 0.456, 0.406)
    standard_deviation: tuple[PositiveReal, PositiveReal, PositiveReal] = (0.229, 0.224, 0.225)
    worker_count: Natural = 2

    @model_validator(mode="after")
    def _check_sizes(self) -> ImageFolder:
        if self.resize < self.image_size:
            raise ValueError(
                f"expected resize >= image_size = {self.image_size}, found resize = {self.resize}"
            )
        if isinstance(self.classes, tuple) and len(set(self.classes)) < len(self.classes):
            raise ValueError("expected classes to name each class once")
        return self

    @property
    def input_shape(self) -> Shape:
        """Three channels of ``image_size`` x ``image_size`` pixels."""
        return (self.image_size, self.image_size, 3)

    @property
    def class_names(self) -> tuple[str, ...]:
        """``classes``, or the training folders; ``class_0``, ... while there is no such folder."""
        if isinstance(self.classes, tuple):
            return self.classes
        train = self._path / self.train_folder
        if not train.is_dir():
            return tuple(f"class_{k}" for k in range(self.classes))
        names = class_folders(train)
        if len(names) != self.classes:
            raise UserError(
                f"{train} has {len(names)} class folders: expected {self.classes}, as data.classes "
                "says"
            )
        return names

    def resolved(self) -> Self:
        """Name the classes, so that a run knows them when the folder is gone or has changed."""
        if isinstance(self.classes, tuple) or not (self._path / self.train_folder).is_dir():
            return self
        return self.model_copy(update={"classes": self.class_names})

    def load(self) -> Dataset:
        """Decode all images into memory, prepared as for testing (for small folders only)."""
        train, test = self._lists()
        evaluation = self._evaluation()
        return Dataset(_decode(train, evaluation), _decode(test, evaluation), self.class_names)

    def stream(self) -> GrainStream:
        """Open the images for training and testing; nothing is decoded yet."""
        train, test = self._lists()
        preparation = ImagePreparation(
            evaluation=self._evaluation(),
            mirror=self.mirror,
            color_shift=self.color_shift,
            color_scales=self.color_scales,
            color_axes=self.color_axes,
        )
        return GrainStream(train, test, self.class_names, preparation, self.worker_count)

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read an image of any size, prepared as for testing."""
        return self._evaluation().read(path, invert=invert)

    @property
    def _path(self) -> Path:
        return data_folder() / Path(self.folder).expanduser()

    def _evaluation(self) -> Evaluation:
        return Evaluation(self.image_size, self.resize, self.mean, self.standard_deviation)

    def _lists(self) -> tuple[ImageList, ImageList]:
        if not self._path.is_dir():
            raise UserError(
                f"data.folder: {self._path} does not exist: expected a folder with "
                f"{self.train_folder}/CLASS/ and {self.test_folder}/CLASS/, in the folder that "
                "JCNN_DATA names unless the path is complete"
            )
        train = list_images(self._path / self.train_folder, self.class_names, complete=True)
        test = list_images(self._path / self.test_folder, self.class_names, complete=False)
        kept, validation = self.select_indices(train.labels)
        if validation is not None:
            test = train.take(validation)
        return (train if kept is None else train.take(kept)), test


def _decode(images: ImageList, evaluation: Evaluation) -> Split:
    from concurrent.futures import ThreadPoolExecutor

    # Pillow decodes outside the interpreter's lock, so threads are enough
    with ThreadPoolExecutor() as pool:
        x = list(pool.map(evaluation.read, map(images.path, range(len(images)))))
    return Split(np.stack(x), images.labels)
