"""Own images in one folder per class, as ImageNet has them, or with a table of labels.

``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg`` (Krizhevsky et al., 2012). Grain decodes and cuts
them while training goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from jcnn import processor
from jcnn.data.base import Dataset
from jcnn.data.folder_scan import Kind
from jcnn.data.grain_stream import GrainStream
from jcnn.data.image import ENDINGS, open_image
from jcnn.data.labelled_folder import LabelledFolder, load_lists
from jcnn.data.preparation import Evaluation, ImagePreparation, check_shape
from jcnn.fields import Count, Flag, Natural, NonNegativeReal, PositiveReal, Real, Shape

Rgb = tuple[Real, Real, Real]
# Starting processes costs more than they save for fewer images than this.
FEW = 2000
MOST_WORKERS = 8
MOST_WORKERS_ASKED = 1024  # more processes than that are a mistake, and bring a machine down


class ImageFolder(LabelledFolder):
    """``name = "image_folder"``: images of any size, cut to ``image_size`` x ``image_size``.

    For training: the shorter side is made ``resize`` long, a random square is cut out, mirrored
    half of the time, and the colours are shifted along their principal axes. For testing: the
    square in the middle. The keys that say where the files lie: :class:`LabelledFolder`.

    Attributes:
        image_size: the side of the square that the network sees.
        resize: the length of an image's shorter side before the square is cut.
        channels: 3 for colour, also of gray images; 1 for gray, also of colour images.
        mirror: whether training images are mirrored, left to right, half of the time.
        color_shift: the standard deviation of the three random factors of the colour shift, one per
            principal axis and image; 0 turns it off. Gray images have no colours to shift.
        color_scales: what each factor is multiplied by, on the scale of pixels in [0, 1].
        color_axes: the principal axes of the colours, one row per axis. Scales and axes default to
            those of ImageNet that fb.resnet.torch uses.
        mean: subtracted from each channel of pixels in [0, 1]; by default ImageNet's. For gray
            images it is the mean of the three.
        standard_deviation: what the difference is divided by, likewise.
        worker_count: processes that prepare images; 0 stands for threads of this one. "auto": none
            for fewer than 2,000 images, else one per core, at most 8. It changes no bit.
    """

    kind: ClassVar[Kind] = Kind("images", ENDINGS)

    name: Literal["image_folder"] = "image_folder"
    image_size: Count = 227
    resize: Count = 256
    channels: Literal[1, 3] = 3
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
    worker_count: Annotated[
        Annotated[Natural, Field(le=MOST_WORKERS_ASKED)] | Literal["auto"],
        Field(union_mode="left_to_right"),
    ] = "auto"

    @model_validator(mode="after")
    def _check_sizes(self) -> ImageFolder:
        if self.resize < self.image_size:
            raise ValueError(
                f"expected resize >= image_size = {self.image_size}, found resize = {self.resize}"
            )
        return self

    @property
    def input_shape(self) -> Shape:
        """``channels`` of ``image_size`` x ``image_size`` pixels."""
        return (self.image_size, self.image_size, self.channels)

    def load(self) -> Dataset:
        """Decode all images into memory, prepared as for testing (for small folders only)."""
        return load_lists(self.lists(), self.class_names, self._evaluation().read)

    def stream(self) -> GrainStream:
        """Open the images of every split; nothing is decoded yet."""
        lists = self.lists()
        preparation = ImagePreparation(
            evaluation=self._evaluation(),
            mirror=self.mirror,
            color_shift=self.color_shift if self.channels == 3 else 0.0,
            color_scales=self.color_scales,
            color_axes=self.color_axes,
        )
        workers = self.worker_count
        if workers == "auto":
            workers = min(processor.cores(), MOST_WORKERS) if len(lists.train) >= FEW else 0
        return GrainStream(lists, self.class_names, preparation, workers)

    def read_example(self, path: Path, *, invert: bool = False) -> np.ndarray:
        """Read an image of any size, prepared as for testing."""
        return self._evaluation().read(path, invert=invert)

    def check_file(self, path: Path) -> None:
        """See :meth:`LabelledFolder.check_file`."""
        check_shape(path, open_image(path, self.channels))

    @property
    def scale(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """See :attr:`DataConfig.scale`."""
        if self.channels == 3:
            return self.mean, self.standard_deviation
        mean, deviation = (sum(v) / 3 for v in (self.mean, self.standard_deviation))
        return (mean,), (deviation,)

    def _evaluation(self) -> Evaluation:
        return Evaluation(self.image_size, self.resize, *self.scale)
