"""What holds for each layer, whatever it is."""

import jax
import jax.numpy as jnp
import pytest
from pydantic import TypeAdapter

from jcnn import layers, ops, reference
from tests.layers.conftest import EXAMPLES

KEY = jax.random.key(1)


def _apply(layer, params, state, x, *, training=True, ops=ops):
    return layer.apply(params, state, x, layers.Context(ops, training, KEY))


def _batch(shape, count=2, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(2), (count, *shape), jnp.float32).astype(dtype)


def test_examples_cover_all_layers():
    union = TypeAdapter(layers.AnyLayer).json_schema()["discriminator"]["mapping"]
    assert {layer.type for layer, _ in EXAMPLES} == set(union)


@pytest.mark.parametrize("training", [True, False])
def test_output_shape_is_what_apply_gives(example, training):
    layer, shape = example
    params, state = layer.init(KEY, shape)
    y, _ = jax.eval_shape(
        lambda x: _apply(layer, params, state, x, training=training), _batch(shape)
    )
    assert y.shape == (2, *layer.output_shape(shape))


def test_empty_batch_passes(example):
    layer, shape = example
    params, state = layer.init(KEY, shape)
    y, _ = _apply(layer, params, state, jnp.zeros((0, *shape)), training=False)
    assert y.shape == (0, *layer.output_shape(shape))


def test_parameters_are_float32_and_the_input_decides_the_output_dtype(example):
    layer, shape = example
    params, state = layer.init(KEY, shape)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((params, state)))
    y, next_state = _apply(layer, params, state, _batch(shape, dtype=jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert jax.tree.map(lambda a: (a.shape, a.dtype), next_state) == jax.tree.map(
        lambda a: (a.shape, a.dtype), state
    )


def test_reference_computes_the_same(example):
    layer, shape = example
    params, state = layer.init(KEY, shape)
    x = _batch(shape)
    for training in (True, False):
        ours, our_state = _apply(layer, params, state, x, training=training)
        other, other_state = _apply(layer, params, state, x, training=training, ops=reference)
        for a, b in zip(
            jax.tree.leaves((ours, our_state)), jax.tree.leaves((other, other_state)), strict=True
        ):
            assert jnp.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_cost_counts_the_parameters_that_init_makes(example):
    layer, shape = example
    params, _ = layer.init(KEY, shape)
    made = sum(leaf.size for leaf in jax.tree.leaves(params))
    absent = 0
    if getattr(layer, "connections", None) is not None:
        absent = int((params["w"] == 0).sum())
    assert layer.cost(shape).parameters == made - absent


def test_layer_is_frozen_hashable_and_survives_its_plain_form(example):
    layer, _ = example
    assert hash(layer) == hash(layer.model_copy())
    assert TypeAdapter(layers.AnyLayer).validate_python(layer.model_dump(mode="json")) == layer
    with pytest.raises(ValueError, match="frozen"):
        layer.name = "other"
