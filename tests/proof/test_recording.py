"""What arguments are drawn for a recorded call."""

import jax
import jax.numpy as jnp
import numpy as np

from jcnn import ops, reference
from jcnn.proof import check_rule
from jcnn.proof.recording import Call, Recorder


def recorded(function, *arrays):
    recorder = Recorder()
    jax.eval_shape(lambda *a: function(recorder, *a), *arrays)
    (call,) = recorder.calls
    return call


def test_masks_are_drawn_as_masks_and_labels_for_the_axis_of_the_classes():
    def loss(namespace, x, labels, mask):
        return namespace.softmax_cross_entropy(x, labels, axis=1, where=mask)

    logits, labels, mask = jnp.zeros((50, 3, 20)), jnp.zeros((50, 20), int), jnp.ones((50, 20))
    call = recorded(loss, logits, labels, mask > 0)
    _, labels, mask = call.draw(np.random.default_rng(0))
    assert (mask.dtype, mask.shape) == (jnp.bool, (50, 20))
    assert set(np.unique(labels)) == {0, 1, 2}
    assert set(np.unique(mask)) == {False, True}
    arguments = call.draw(np.random.default_rng(1))
    assert check_rule(call.function(ops), call.function(reference), *arguments, samples=20)


def test_labels_are_drawn_from_the_last_axis_where_none_is_named():
    arrays = (("logits", (200, 3), "float32"), ("labels", (200,), "int32"))
    _, labels = Call("softmax_cross_entropy", arrays, ()).draw(np.random.default_rng(0))
    assert set(np.unique(labels)) == {0, 1, 2}
