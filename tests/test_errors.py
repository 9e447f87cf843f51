"""Which known name is suggested for a mistyped one, and for another library's."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import pytest

from jcnn.config import Training
from jcnn.errors import nearest
from jcnn.inspection.catalogue import layer_entries
from jcnn.optimizers.catalogue import optimizers, schedules, transformations


def keys(function: object) -> Iterable[str]:
    return inspect.signature(function).parameters  # type: ignore[arg-type]


LAYERS = layer_entries()
CONV, POOL = ({"type", "name", *LAYERS[name]["fields"]} for name in ("conv", "max_pool"))
LOSSES = ("softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error")
# What is known, what was written for it, and the suggestion; "" where there is none.
SUGGESTED = [
    (
        schedules(),
        {
            "cosine_decay": "cosine_decay_schedule",
            "cosin_decay": "cosine_decay_schedule",
            "CosineDecay": "cosine_decay_schedule",
            "cosine_schedule": "cosine_decay_schedule",
            "cosine": "cosine_decay_schedule",
            "CosineAnnealingLR": "cosine_decay_schedule",
            "warmup_cosine_decay": "warmup_cosine_decay_schedule",
            "warmup_cosine": "warmup_cosine_decay_schedule",
            "warmup_cosine_schedule": "warmup_cosine_decay_schedule",
            "exponential_decay_schedule": "exponential_decay",
            "ExponentialDecay": "exponential_decay",
            "ExponentialLR": "exponential_decay",
            "exponential": "exponential_decay",
            "linear": "linear_schedule",
            "linear_decay": "linear_schedule",
            "LinearLR": "linear_schedule",
            "constant": "constant_schedule",
            "polynomial": "polynomial_schedule",
            "piecewise_constant": "piecewise_constant_schedule",
            "PiecewiseConstantDecay": "piecewise_constant_schedule",
            "MultiStepLR": "piecewise_constant_schedule",
            "OneCycleLR": "cosine_onecycle_schedule",
            "join_schedule": "join_schedules",
            "nothing": "",
        },
    ),
    (
        transformations(),
        {
            "clip_by_norm": "clip_by_global_norm",
            "clip_global_norm": "clip_by_global_norm",
            "clip_grad_norm_": "clip_by_global_norm",
            "clipnorm": "clip_by_global_norm",
            "clip_by_value": "clip",
            "weight_decay": "add_decayed_weights",
            "add_decayed_weight": "add_decayed_weights",
        },
    ),
    (
        optimizers(),
        {
            "sdg": "sgd",
            "SGD": "sgd",
            "Adam_W": "adamw",
            "adma": "adam",
            "AdamOptimizer": "adam",
            "RMSProp": "rmsprop",
            "rms_prop": "rmsprop",
            "Nadam": "adam",
        },
    ),
    (
        keys(optimizers()["adamw"]),
        {
            "lr": "learning_rate",
            "learningrate": "learning_rate",
            "beta_1": "b1",
            "beta2": "b2",
            "epsilon": "eps",
            "weight_deacy": "weight_decay",
            "decay": "weight_decay",
        },
    ),
    (
        LAYERS,
        {
            "Conv2d": "conv",
            "Convolution2D": "conv",
            "ConvTranspose2d": "conv_transpose",
            "Conv2DTranspose": "conv_transpose",
            "MaxPool2d": "max_pool",
            "MaxPooling3D": "max_pool",
            "maxpool": "max_pool",
            "AvgPool3d": "average_pool",
            "AdaptiveAvgPool2d": "global_average_pool",
            "GlobalMaxPooling2D": "global_max_pool",
            "BatchNorm2d": "batch_norm",
            "batch_normalization": "batch_norm",
            "LeakyReLU": "leaky_relu",
            "relu_pool": "relu_max_pool",
            "Linear": "dense",
            "Dropout2d": "dropout",
            "ZeroPadding2D": "pad",
            "lrn": "local_response_norm",
            "residual_block": "residual",
        },
    ),
    (
        CONV,
        {
            "activation": "",
            "kernel_size": "window",
            "filters": "features",
            "out_channels": "features",
            "stride": "strides",
            "dilation_rate": "dilation",
            "group": "groups",
            "use_bias": "bias",
            "kernel_initializer": "initializer",
            "bias_initializer": "bias_value",
            "paddin": "padding",
        },
    ),
    (POOL, {"pool_size": "window", "ceil": "ceil_mode", "windwo": "window"}),
    (
        LOSSES,
        {
            "cross_entropy": "softmax_cross_entropy",
            "CrossEntropyLoss": "softmax_cross_entropy",
            "SparseCategoricalCrossentropy": "softmax_cross_entropy",
            "BinaryCrossentropy": "binary_cross_entropy",
            "BCELoss": "binary_cross_entropy",
            "BCEWithLogitsLoss": "binary_cross_entropy",
            "MSELoss": "mean_squared_error",
        },
    ),
    (
        Training.model_fields,
        {"epoch": "epochs", "num_epochs": "epochs", "bs": "batch_size", "batchsize": "batch_size"},
    ),
    (("train", "train_count", "test_count"), {"train_cuont": "train_count", "training": "train"}),
    (("Käse", "Brot"), {"käse": "Käse", "Bort": "Brot"}),
    ((), {"word": ""}),
]


@pytest.mark.parametrize(
    ("known", "word", "suggestion"),
    [
        pytest.param(known, word, suggestion, id=f"{word}-{suggestion or 'nothing'}")
        for known, table in SUGGESTED
        for word, suggestion in table.items()
    ],
)
def test_the_name_that_was_meant_is_suggested(known, word, suggestion):
    assert nearest(word, known) == (f" (did you mean '{suggestion}'?)" if suggestion else "")


def test_every_known_name_is_its_own_suggestion():
    for known, _ in SUGGESTED:
        for name in known:
            assert nearest(name.upper(), known) == f" (did you mean '{name}'?)"
