import pytest

from jcnn import layers

CONNECTIONS = ((0, 1), (1, 2), (0, 2), (0, 1, 2))

# Every layer at least once, in each of its ways, with an input that fits it.
EXAMPLES = [
    (layers.Conv(features=4, window=3), (8, 7, 3)),
    (layers.Conv(features=4, window=(3, 2), strides=(2, 1), padding="SAME"), (8, 7, 3)),
    (layers.Conv(features=4, window=3, dilation=2, padding="FULL", correlate=True), (8, 7, 3)),
    (layers.Conv(features=4, window=3, padding=((0, 1), (2, 0)), bias="position"), (8, 7, 3)),
    (layers.Conv(features=6, window=3, groups=3, bias="none"), (8, 7, 3)),
    (layers.Conv(features=4, window=3, connections=CONNECTIONS), (8, 7, 3)),
    (layers.Conv(features=4, window=3, strides=2, padding=1), (9, 5)),
    (layers.Conv(features=2, window=2), (4, 3, 5, 2)),
    (layers.Conv(features=2, window=3, padding="circular", bias="position"), (6, 5, 2)),
    (layers.Conv(features=2, window=3, padding=((-1, 2), (0, -1))), (6, 5, 2)),
    (layers.ConvTranspose(features=2, window=3, strides=2, padding=1, output_padding=1), (5, 2)),
    (layers.ConvTranspose(features=4, window=4, strides=2, padding=1), (5, 6, 3)),
    (
        layers.ConvTranspose(features=4, window=3, strides=2, padding="SAME", bias="position"),
        (5, 6, 3),
    ),
    (layers.ConvTranspose(features=3, window=3, dilation=2, padding="FULL", groups=3), (9, 8, 3)),
    (layers.ConvTranspose(features=1, window=8, strides=4, bias="none"), (6, 5)),
    (layers.Dense(features=4), (6,)),
    (layers.Dense(features=4, bias=False), (6,)),
    (layers.Relu(), (5, 4, 3)),
    (layers.LeakyRelu(slope=0.1), (5, 4, 3)),
    (layers.Prelu(), (5, 4, 3)),
    (layers.Sigmoid(), (6,)),
    (layers.Tanh(), (6,)),
    (layers.ScaledTanh(), (6,)),
    (layers.Gelu(), (6,)),
    (layers.Softmax(), (6,)),
    (layers.UnitStep(), (6,)),
    (layers.Signum(), (6,)),
    (layers.MaxPool(window=3, strides=2), (8, 7, 3)),
    (layers.MaxPool(window=2, padding="SAME"), (8, 7, 3)),
    (layers.ReluMaxPool(window=2), (8, 7, 3)),
    (layers.AveragePool(window=(2, 3)), (8, 7, 3)),
    (layers.MaxPool(window=2, ceil_mode=True), (5, 4, 3)),
    (layers.AveragePool(window=3, padding=1, count_include_pad=False, ceil_mode=True), (8, 3)),
    (layers.SquarePool(window=5, strides=1), (9, 3)),
    (layers.Decimate(factor=2), (8, 7, 3)),
    (layers.Decimate(factor=(3, 1)), (8, 7, 3)),
    (layers.GlobalMaxPool(), (8, 7, 3)),
    (layers.GlobalAveragePool(), (8, 3)),
    (layers.Pad(padding=2, value=-1.0), (8, 7, 3)),
    (layers.Pad(padding=((0, 1), (2, 0))), (8, 7, 3)),
    (layers.Pad(padding=2, mode="reflect"), (8, 7, 3)),
    (layers.Pad(padding=(-1, 1)), (8, 7, 3)),
    (layers.Flatten(), (8, 7, 3)),
    (layers.Reshape(shape=(7, 24)), (8, 7, 3)),
    (layers.Dropout(drop_rate=0.5), (8, 7, 3)),
    (layers.PatchWhitening(window=2), (8, 7, 3)),
    (layers.PatchWhitening(window=3, bias=False), (9, 2)),
    (layers.BatchNorm(), (8, 7, 3)),
    (layers.BatchNorm(), (6,)),
    (layers.LocalResponseNorm(size=3), (8, 7, 4)),
    (
        layers.Residual(
            layers=(layers.Conv(features=3, window=3, padding="SAME"), layers.BatchNorm())
        ),
        (8, 7, 3),
    ),
    (
        layers.Residual(
            layers=(layers.Conv(features=4, window=3, strides=2, padding="SAME"), layers.Dropout()),
            shortcut=(layers.Conv(features=4, window=1, strides=2), layers.BatchNorm()),
        ),
        (8, 7, 3),
    ),
]


def _identity(example):
    layer, shape = example
    return f"{layer.type}-{'x'.join(map(str, shape))}"


@pytest.fixture(params=EXAMPLES, ids=_identity)
def example(request):
    """A layer and an input shape that fits it."""
    return request.param
