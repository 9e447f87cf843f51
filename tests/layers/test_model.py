from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jcnn import layers, ops, reference
from jcnn.errors import UserError
from jcnn.layers import Model

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("mathematics")

# LeCun et al., 1989: plane d of H2 reads 8 of the 12 planes of H1.
ZIPCODE_TABLE = tuple(tuple((start + k) % 12 for k in range(8)) for start in range(12))
ZIPCODE = (
    layers.Pad(padding=2, value=-1.0),
    layers.Conv(features=12, window=5, strides=2, bias="position"),
    layers.Tanh(),
    layers.Pad(padding=2, value=-1.0),
    layers.Conv(features=12, window=5, strides=2, bias="position", connections=ZIPCODE_TABLE),
    layers.Tanh(),
    layers.Flatten(),
    layers.Dense(features=30),
    layers.Tanh(),
    layers.Dense(features=10),
    layers.Tanh(),
)
SMALL = (
    layers.Conv(features=4, window=3, bias="position"),
    layers.ReluMaxPool(window=2),
    layers.BatchNorm(),
    layers.Residual(layers=(layers.Conv(features=4, window=3, padding="SAME"), layers.Tanh())),
    layers.Flatten(),
    layers.Dropout(drop_rate=0.2),
    layers.Dense(features=5),
)


def _alexnet(widths, groups):
    first, second, third, fourth, fifth = widths
    pool = layers.MaxPool(window=3, strides=2)
    return Model(
        (
            layers.Conv(features=first, window=11, strides=4),
            pool,
            layers.Conv(features=second, window=5, padding=2, groups=groups),
            pool,
            layers.Conv(features=third, window=3, padding=1),
            layers.Conv(features=fourth, window=3, padding=1, groups=groups),
            layers.Conv(features=fifth, window=3, padding=1, groups=groups),
            pool,
            layers.Flatten(),
            layers.Dense(features=4096),
            layers.Dense(features=4096),
            layers.Dense(features=1000),
        )
    )


def test_zipcode_network_has_the_papers_size():
    model = Model(ZIPCODE)
    cost = model.cost((16, 16, 1))
    assert model.shapes((16, 16, 1))[1] == (8, 8, 12)
    assert model.shapes((16, 16, 1))[4] == (4, 4, 12)
    assert (cost.units + 256, cost.connections, cost.parameters) == (1256, 64660, 9760)


@pytest.mark.parametrize(
    ("widths", "groups", "parameters"),
    [
        ((96, 256, 384, 384, 256), 2, 60_965_224),
        ((96, 256, 384, 384, 256), 1, 62_378_344),
        ((64, 192, 384, 256, 256), 1, 61_100_840),
    ],
    ids=["two towers", "without groups", "torchvision's widths"],
)
def test_alexnet_has_the_published_number_of_parameters(widths, groups, parameters):
    assert _alexnet(widths, groups).cost((227, 227, 3)).parameters == parameters


def test_layers_are_named_by_type_and_number_unless_they_have_a_name():
    model = Model((layers.Relu(), layers.Tanh(name="squash"), layers.Relu(), layers.Tanh()))
    assert model.names == ("relu_1", "squash", "relu_2", "tanh_2")


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(UserError, match="2 layers have the name 'relu_2'"):
        Model((layers.Relu(name="relu_2"), layers.Relu()))


def test_what_is_no_layer_is_refused():
    with pytest.raises(UserError, match="layer 2: expected a layer, found 3"):
        Model((layers.Relu(), 3))


def test_layers_are_any_sequence_and_the_model_may_be_static_under_jit():
    layer = layers.Dense(features=2)
    model = Model([layer])
    assert model == Model((layer,))
    params, state = model.init(KEY, [3])
    y, _ = jax.jit(Model.apply, static_argnums=0)(model, params, state, jnp.ones((2, 3)))
    assert y.shape == (2, 2)
    for one in (layer, 3):
        with pytest.raises(UserError, match="expected a sequence of layers, found"):
            Model(one)


@pytest.mark.parametrize("shape", [8, (8.0, 8, 1), (None, 8, 1), (8, 8, 0), (-1, 8, 1), "8"])
def test_what_is_no_shape_of_an_example_is_refused(shape):
    model = Model((layers.Conv(features=2, window=3),))
    for asked in (partial(model.init, KEY), model.shapes, model.cost):
        with pytest.raises(UserError, match=r"^input_shape must be the lengths of one example's"):
            asked(shape)


def test_what_is_no_key_is_refused():
    model = Model((layers.Dropout(),))
    told = "key must be a random key, as jax.random.key makes, found 0"
    with pytest.raises(TypeError, match=f"^Model.init: {told}"):
        model.init(0, (3,))
    with pytest.raises(TypeError, match=f"^Model.apply: {told}"):
        model.apply({}, {}, jnp.ones((2, 3)), training=True, key=0)


def test_inputs_are_arrays_of_any_kind_of_floating_point():
    model = Model((layers.Dense(features=2),))
    params, state = model.init(KEY, (3,))
    for x in (np.ones((2, 3)), np.ones((2, 3)).tolist()):
        y, _ = model.apply(params, state, x)
        assert y.dtype == jnp.float32
    for x, found in ((None, "an array, found None"), (np.ones((2, 3), int), "floating point")):
        with pytest.raises(TypeError, match=f"^Model.apply: x must be {found}"):
            model.apply(params, state, x)


def test_training_that_is_traced_is_named():
    model = Model((layers.Dropout(),))
    told = r"^Model.apply: training must be True or False when .* jit's static_argnames"
    with pytest.raises(TypeError, match=told):
        jax.jit(model.apply)({}, {}, jnp.ones((2, 3)), training=True, key=KEY)


def test_a_name_that_no_layer_has_can_not_be_frozen():
    model = Model((layers.BatchNorm(), layers.BatchNorm(name="batch_norm_10")))
    params, state = model.init(KEY, (3,))
    x = jnp.ones((2, 3))
    with pytest.raises(UserError, match=r"frozen: unknown 'batch_nrm_1'.*did you mean"):
        model.apply(params, state, x, training=True, frozen={"batch_nrm_1"})
    _, after = model.apply(params, state, x, training=True, frozen="batch_norm_10")
    assert not jnp.array_equal(after["batch_norm_1"]["mean"], state["batch_norm_1"]["mean"])
    assert jnp.array_equal(after["batch_norm_10"]["mean"], state["batch_norm_10"]["mean"])


def test_what_is_applied_to_another_models_parameters_is_told_so():
    model = Model((layers.Conv(features=2, window=3), layers.BatchNorm()))
    params, state = model.init(jax.random.key(0), (5, 5, 1))
    x = jnp.zeros((2, 5, 5, 1))
    others = {**params, "conv_1": {**params["conv_1"], "w": jnp.zeros((3, 3, 4, 2))}}
    for given, told in (
        (({}, state, x), r"params .* of shape \(2,\), found none"),
        ((others, state, x), r"conv_1\.w of shape \(3, 3, 1, 2\), found \(3, 3, 4, 2\)"),
        ((params, {}, x), r"state .* batch_norm_1\.\w+ of shape \(2,\), found none"),
        ((None, state, x), r"params are not this model's"),
        ((params, state, x[0]), r"for x of shape \(5, 5, 1\), .* conv_1\.w of shape \(3, 1, 2\)"),
        ((params, state, x[0, 0]), r"x of shape \(5, 1\) does not fit, .* layer 1 'conv_1'"),
    ):
        with pytest.raises(UserError, match=told):
            model.apply(*given)


def test_layer_that_does_not_fit_is_named():
    model = Model(
        (layers.Conv(features=2, window=3), layers.Relu(), layers.Conv(features=2, window=5))
    )
    with pytest.raises(UserError, match=r"^layer 3 'conv_2' \(conv\): window 5x5 is larger than"):
        model.shapes((6, 6, 1))


def test_shapes_are_those_of_the_outputs():
    model = Model(SMALL)
    params, state = model.init(KEY, (8, 8, 1))
    x = jnp.zeros((3, 8, 8, 1))
    y, _ = model.apply(params, state, x)
    assert model.shapes((8, 8, 1))[-1] == y.shape[1:] == (5,)


def test_lengths_may_stay_open():
    h, w = jax.export.symbolic_shape("h, w")
    padded = Model((layers.Pad(padding=1), layers.Pad(padding=2, mode="reflect")))
    assert padded.shapes((h, w, 3))[-1] == (h + 6, w + 6, 3)


def test_parameters_and_state_lie_under_the_layers_names():
    params, state = Model(SMALL).init(KEY, (8, 8, 1))
    assert set(params) == {"conv_1", "batch_norm_1", "residual_1", "dense_1"}
    assert set(state) == {"batch_norm_1"}


def test_same_key_same_parameters_and_each_layer_its_own():
    model = Model((layers.Dense(features=6), layers.Dense(features=6)))
    first, _ = model.init(KEY, (6,))
    again, _ = model.init(KEY, (6,))
    assert jax.tree.all(jax.tree.map(jnp.array_equal, first, again))
    assert not jnp.array_equal(first["dense_1"]["w"], first["dense_2"]["w"])


@pytest.mark.slow
def test_gradients_are_those_of_the_reference():
    with jax.enable_x64(True):
        model = Model(SMALL)
        params, state = model.init(KEY, (8, 8, 1))
        params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
        x = jax.random.normal(KEY, (4, 8, 8, 1), jnp.float64)

        def loss(params, which):
            y, _ = model.apply(params, state, x, training=True, key=KEY, ops=which)
            return (y**2).sum()

        gradient = jax.jit(jax.grad(loss), static_argnums=1)
        ours, other = gradient(params, ops), gradient(params, reference)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(other), strict=True):
            assert a.dtype == jnp.float64
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_training_in_bfloat16_keeps_parameters_and_statistics_in_float32():
    model = Model(SMALL)
    params, state = model.init(KEY, (8, 8, 1))
    x = jnp.ones((2, 8, 8, 1), jnp.bfloat16)

    def loss(params):
        y, after = model.apply(params, state, x, training=True, key=KEY)
        assert y.dtype == jnp.bfloat16
        return y.astype(jnp.float32).sum(), after

    gradient, after = jax.jit(jax.grad(loss, has_aux=True))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves((gradient, after))} == {jnp.dtype("float32")}


def test_dropout_differs_from_key_to_key_and_stays_out_of_evaluation():
    model = Model((layers.Dropout(), layers.Dropout()))
    x = jnp.ones((4, 100))
    draw = lambda seed: model.apply({}, {}, x, training=True, key=jax.random.key(seed))[0]  # noqa: E731
    assert jnp.array_equal(draw(1), draw(1))
    assert not jnp.array_equal(draw(1), draw(2))
    assert jnp.array_equal(model.apply({}, {}, x)[0], x)
