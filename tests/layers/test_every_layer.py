"""What holds for each layer, whatever it is."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter

from jcnn import layers, ops, reference
from jcnn.errors import UserError
from tests.layers.conftest import EXAMPLES

KEY = jax.random.key(1)
pytestmark = pytest.mark.usefixtures("mathematics")


def _apply(layer, params, state, x, *, training=True, ops=ops):
    return layer.apply(params, state, x, layers.Context(ops, training, KEY))


def _shapes(layer, shape):
    """What init makes, without its values."""
    return jax.eval_shape(lambda key: layer.init(key, shape), KEY)


def _input(shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((2, *shape), dtype)


def test_examples_cover_all_layers():
    union = TypeAdapter(layers.AnyLayer).json_schema()["discriminator"]["mapping"]
    assert {layer.type for layer, _ in EXAMPLES} == set(union)


@pytest.mark.parametrize("namespace", [ops, reference], ids=["ops", "reference"])
def test_no_rank_is_promoted_in_training(namespace):
    with jax.numpy_rank_promotion("raise"):
        for layer, shape in EXAMPLES:
            params, state = _shapes(layer, shape)
            apply = partial(_apply, layer, ops=namespace)

            def total(params, state, x, apply=apply):
                return apply(params, state, x)[0].sum()

            jax.eval_shape(jax.grad(total), params, state, _input(shape))


@pytest.mark.parametrize("training", [True, False])
def test_output_shape_is_what_apply_gives(example, training):
    layer, shape = example
    params, state = _shapes(layer, shape)
    y, _ = jax.eval_shape(partial(_apply, layer, training=training), params, state, _input(shape))
    assert y.shape == (2, *layer.output_shape(shape))


def test_empty_batch_passes(example):
    layer, shape = example
    params, state = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), _shapes(layer, shape))
    y, _ = jax.jit(partial(_apply, layer, training=False))(params, state, jnp.zeros((0, *shape)))
    assert y.shape == (0, *layer.output_shape(shape))


def test_parameters_are_float32_and_the_input_decides_the_output_dtype(example):
    layer, shape = example
    params, state = _shapes(layer, shape)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((params, state)))
    x = _input(shape, jnp.bfloat16)
    y, next_state = jax.eval_shape(partial(_apply, layer), params, state, x)
    assert y.dtype == jnp.bfloat16
    assert jax.tree.map(lambda a: (a.shape, a.dtype), next_state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )


def test_reference_computes_the_same(example):
    layer, shape = example
    generator = np.random.default_rng(0)
    # positive, since variances are among them
    params, state = jax.tree.map(
        lambda a: generator.uniform(0.1, 1.0, a.shape).astype(a.dtype), _shapes(layer, shape)
    )
    x = generator.normal(size=(2, *shape)).astype(np.float32)

    @jax.jit
    def both(*arrays):
        ways = [(training, space) for training in (True, False) for space in (ops, reference)]
        return [_apply(layer, *arrays, training=t, ops=space) for t, space in ways]

    trained, as_trained, used, as_used = both(params, state, x)
    for ours, other in ((trained, as_trained), (used, as_used)):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_cost_counts_the_parameters_that_init_makes(example):
    layer, shape = example
    params, _ = _shapes(layer, shape)
    made = sum(leaf.size for leaf in jax.tree.leaves(params))
    absent = 0
    if getattr(layer, "connections", None) is not None:
        absent = int((layer.init(KEY, shape)[0]["w"] == 0).sum())
    assert layer.cost(shape).parameters == made - absent


def test_layer_is_frozen_hashable_and_survives_its_plain_form(example):
    layer, _ = example
    assert hash(layer) == hash(layer.model_copy())
    assert TypeAdapter(layers.AnyLayer).validate_python(layer.model_dump(mode="json")) == layer
    with pytest.raises(ValueError, match="frozen"):
        layer.name = "other"


def test_a_mistake_in_python_is_named_as_one_in_a_file(example):
    layer, _ = example
    made, given = type(layer), {key: getattr(layer, key) for key in layer.model_fields_set}
    known = ", ".join(made.model_fields)
    with pytest.raises(UserError) as found:
        made(**given, zzzzz=1)
    assert str(found.value) == f"{made.__name__}: zzzzz: unknown key; there are {known}"
    told = rf"^{made.__name__}: name: expected a string that matches .*, found 'a b'$"
    with pytest.raises(UserError, match=told):
        made(**{**given, "name": "a b"})
    for key, field in made.model_fields.items():
        if field.is_required():
            with pytest.raises(UserError, match=f"^{made.__name__}: {key}: this key is missing$"):
                made(**{other: value for other, value in given.items() if other != key})


def test_a_mistake_within_a_layer_is_named_where_it_lies():
    wrong = {"type": "conv", "features": 0, "window": 3}
    told = r"^Residual: layers\.1\.features: expected a value greater than 0, found 0$"
    with pytest.raises(UserError, match=told):
        layers.Residual(layers=[layers.Relu(), wrong])


def test_numbers_of_numpy_are_as_good_as_pythons():
    window, features = np.array([3, 5]), np.int64(4)
    layer = layers.Conv(features=features, window=window, strides=(np.int32(1), 2))
    assert layer == layers.Conv(features=4, window=(3, 5), strides=(1, 2))
    assert layers.Conv(features=4, window=3, correlate=np.True_).correlate is True


def test_layers_are_copied_by_pickle(example):
    layer, _ = example
    assert pickle.loads(pickle.dumps(layer)) == layer
