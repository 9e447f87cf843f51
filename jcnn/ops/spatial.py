r"""Images that are split in space: each device holds a run of rows (and of columns).

Inside ``jax.shard_map``, :func:`split_over` says which mesh axes the images' spatial axes lie
along. Within it every operation is the one on the whole image, and each device computes the part of
its result that is its own::

    mesh = jax.make_mesh((2, 4), ("data", "space"))

    @jax.shard_map(mesh=mesh, in_specs=(P("data", "space"), P()), out_specs=P("data"))
    def logits(x, params):
        with ops.spatial.split_over("space"):           # height over "space", width whole
            y = ops.correlate(x, params["w"], padding="SAME", strides=2)
            y = ops.relu_max_pool(y, 2)                 # still split
            y = ops.spatial.whole(y)                    # gathered: equal on all devices of "space"
        return ops.dense(y.reshape(y.shape[0], -1), params["v"])

Shapes inside are a device's own, (N, H / S, W, C); windows, strides, paddings and their names are
those of the whole image. Split: correlations, convolutions and their transposes, all pools and
``pad`` (what lies beyond a device's part comes by :func:`jcnn.ops.halo_exchange`); global pools and
``batch_norm``, which add up over the devices. A value per position (a bias of (H, W, D)) is split
as its image is.

Under ``jax.grad``, before or within ``shard_map``, each gradient is the whole image's: a kernel is
the same on all devices, so that its gradient is summed over them (by ``shard_map`` itself, unless
``check_vma=False``: there by the caller's ``psum``).

What must divide what: for each split axis the number of devices divides the image's size and the
size of each operation's output. An image that is not divided so is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def split_over(*mesh_axes: str | None) -> Iterator[None]:
    """Within the context, images are split in space over mesh axes of ``jax.shard_map``.

    It holds for what is traced within; gradients need no context of their own.

    Args:
        mesh_axes: The mesh axis that the first spatial axis is split over, that of the second, …;
            None for one that is whole, as all are that no argument names.
    """
    raise NotImplementedError
    yield


def whole(x: jax.Array) -> jax.Array:
    """Gather an image that is split over devices; outside of :func:`split_over`, ``x`` itself.

    Args:
        x: A device's part, (N, *part, C).

    Returns:
        The whole image, (N, *size, C), equal on all devices that it was split over.

    Gradient:
        Each device's own part of the cotangent. Nothing is kept between the passes.
    """
    raise NotImplementedError
