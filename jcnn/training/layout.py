"""On which devices a training computes, and how its arrays lie on them.

The gradients are computed in ``jax.shard_map``, each device on its own part of the batch: so every
operation sees plain arrays, whatever the compiler would make of sharded ones. What the devices
found is added up in one flat all-reduce. All else, the optimizer above all, is the program of one
device, on arrays that are the same everywhere, or sharded as their parameters are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jcnn.layers import WHOLE, Shards

AXES = ("data", "model", "space")
Function = Callable[..., Any]


@dataclass(frozen=True)
class Layout:
    """How arrays lie on the devices; without a mesh, on one device, as ever.

    Attributes:
        mesh: The devices along the axes "data", "model" and "space"; None for one device.
        shards: How the model is applied to a device's part of a batch.
    """

    mesh: jax.sharding.Mesh | None = None
    shards: Shards = WHOLE

    @property
    def parts(self) -> int:
        """Into how many parts a batch is split."""
        return 1 if self.mesh is None else prod(self.mesh.shape[axis] for axis in self.shards.batch)

    @property
    def batch(self) -> P:
        """How an array is sharded whose first axis is the batch's."""
        return P(self.shards.batch)

    @property
    def images(self) -> P:
        """How a batch is sharded as the model gets it: split in space, too."""
        return P(self.shards.batch, self.shards.space) if self.shards.space else self.batch

    @property
    def copies(self) -> int:
        """How many devices have the same examples, and the same loss."""
        return 1 if self.mesh is None else self.mesh.shape["space"]

    @property
    def is_spread(self) -> bool:
        """Whether there are arrays of which no process holds all."""
        return jax.process_count() > 1 and bool(self.shards.parts)

    def each(self, function: Function, in_specs: Any, out_specs: Any) -> Function:
        """Return ``function`` on each device's parts; on one device, itself."""
        if self.mesh is None:
            return function
        return jax.shard_map(
            function, mesh=self.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )

    def jit(self, function: Function, results: Any = None, **options: Any) -> Any:
        """Compile; ``results`` lie as their like do, see :meth:`shardings`."""
        placed = {} if results is None else self.results(results)
        return jax.jit(function, **placed, **options)

    def results(self, like: Any) -> dict[str, Any]:
        """Return the option of ``jax.jit`` that says where results go."""
        return {} if self.mesh is None else {"out_shardings": self.shardings(like)}

    def specs(self, tree: Any) -> Any:
        """Return how each array of a tree is sharded that has parameters, or their like, in it."""
        return jax.tree_util.tree_map_with_path(self._spec, tree)

    def shardings(self, tree: Any) -> Any:
        """Return the same as shardings on the mesh."""
        return jax.tree.map(
            lambda spec: NamedSharding(self._mesh, spec),
            self.specs(tree),
            is_leaf=lambda leaf: isinstance(leaf, P),
        )

    def _spec(self, path: Sequence[Any], leaf: Any) -> P:
        *outer, layer, name = [getattr(key, "key", None) for key in ("", "", *path)]
        nested = bool(outer) and isinstance(outer[-1], str)  # in a residual block
        part = None if nested else dict(self.shards.parts).get(str(layer))
        if part == "columns" and leaf.ndim:
            spec = P(*(None,) * (leaf.ndim - 1), "model")
        elif part == "rows" and name == "w" and leaf.ndim == 2:
            spec = P("model")
        else:
            return P()
        # what an optimizer keeps of a parameter may have other lengths
        return spec if leaf.shape[spec.index("model")] % self._mesh.shape["model"] == 0 else P()

    @property
    def _mesh(self) -> jax.sharding.Mesh:
        assert self.mesh is not None
        return self.mesh

    def shaped(self, tree: Any) -> Any:
        """Return the shapes of a tree with how they are sharded, for the compiler."""
        if self.mesh is None:
            return tree
        return jax.tree.map(
            lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
            tree,
            self.shardings(tree),
        )

    def gathered(self, tree: Any) -> Any:
        """Return the tree with arrays that this process can read whole; all must ask for it."""
        if not self.is_spread:
            return tree
        return jax.jit(lambda tree: tree, out_shardings=NamedSharding(self._mesh, P()))(tree)

    def place(self, tree: Any) -> Any:
        """Put a tree of whole arrays, the same in all processes, where they belong."""
        if self.mesh is None:
            return tree
        return jax.tree.map(_placed, tree, self.shardings(tree))

    def on_host(self, tree: Any) -> Any:
        """Return arrays that any of a mesh's programs takes, the same in all processes."""
        return tree if self.mesh is None else jax.tree.map(np.asarray, tree)

    def shaped_batch(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return the shapes of a batch of inputs of this shape, and of its labels."""
        how: dict[str, Any] = (
            {} if self.mesh is None else {"sharding": NamedSharding(self.mesh, self.batch)}
        )
        x = jax.ShapeDtypeStruct(shape, jnp.float32, **how)
        return x, jax.ShapeDtypeStruct(shape[:1], jnp.int32, **how)

    def place_batch(self, x: np.ndarray, rows: slice, count: int) -> Array:
        """Put this process's ``rows`` of a batch of ``count`` examples on its devices."""
        if self.mesh is None:
            return jnp.asarray(x)
        sharding = NamedSharding(self.mesh, self.batch)
        shape = (count, *x.shape[1:])

        def part(index: Any) -> np.ndarray:
            first, last, _ = index[0].indices(count)
            return x[first - rows.start : last - rows.start]

        return jax.make_array_from_callback(shape, sharding, part)

    def rows(self, count: int) -> slice:
        """Return which examples of a batch this process's devices take."""
        if self.mesh is None:
            return slice(0, count)
        sharding = NamedSharding(self.mesh, self.batch)
        places = sharding.addressable_devices_indices_map((count,)).values()
        bounds = [place[0].indices(count) for place in places if place is not None]
        return slice(min(first for first, *_ in bounds), max(last for _, last, _ in bounds))

    def own_rows(self, x: Array) -> Array:
        """Within :meth:`each`: this device's run of the images that are split in space."""
        if self.copies == 1:
            return x
        count = x.shape[1] // self.copies
        return lax.dynamic_slice_in_dim(x, lax.axis_index("space") * count, count, axis=1)

    def once(self, tree: Any) -> Any:
        """Within :meth:`each`: what all devices with the same examples have, on one of them."""
        if self.copies == 1:
            return tree
        first = lax.axis_index("space") == 0
        return jax.tree.map(lambda a: jnp.where(first, a, jnp.zeros_like(a)), tree)

    def own_part(self, a: Array, count: int) -> Array:
        """Within :meth:`each`: the ``count`` rows of a whole batch that are this device's."""
        if self.mesh is None:
            return a
        return lax.dynamic_slice_in_dim(a, lax.axis_index(self.shards.batch) * count, count)

    def whole(self, a: Array) -> Array:
        """Within :meth:`each`: the whole batch of which each device has a part."""
        if self.mesh is None:
            return a
        return lax.all_gather(a, self.shards.batch, axis=0, tiled=True)

    def joined(self, gradients: Any, running: Any, rest: tuple[Any, Any]) -> tuple[Any, Any]:
        """Within :meth:`each`: add gradients and sums, and take the mean of running statistics.

        Args:
            gradients: This device's.
            running: The statistics before the step.
            rest: This device's statistics after it, and its part's sums.
        """
        of = self.parts * self.copies
        changes = jax.tree.map(lambda new, old: (new - old) / of, rest[0], running)
        gradients, (changes, totals) = self.added(gradients, (changes, self.once(rest[1])))
        # what no layer has changed keeps its bits
        return gradients, (jax.tree.map(jnp.add, running, changes), totals)

    def added(self, params_like: Any, rest: Any = ()) -> tuple[Any, Any]:
        """Within :meth:`each`: add up what the devices found, in one flat all-reduce.

        Args:
            params_like: Gradients, shaped like the parameters. Those of dense layers that are
                split over "model" are added over the other axes, in an all-reduce of their own.
            rest: What is added with them; whole numbers below 2²⁴ among it.
        """
        specs = self.specs(params_like)
        leaves, structure = jax.tree.flatten((params_like, rest))
        split = [spec != P() for spec in jax.tree.leaves(specs, is_leaf=lambda s: isinstance(s, P))]
        split += [False] * (len(leaves) - len(split))
        everywhere = _flat_sum([a for a, s in zip(leaves, split, strict=True) if not s], AXES)
        sharded = _flat_sum([a for a, s in zip(leaves, split, strict=True) if s], ("data", "space"))
        return jax.tree.unflatten(structure, [next(sharded if s else everywhere) for s in split])


SINGLE = Layout()


def _placed(a: Any, sharding: NamedSharding) -> Array:
    if isinstance(a, Array) and a.sharding == sharding:
        return a
    if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_placed(jax.random.key_data(a), sharding))
    host = np.asarray(a)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _flat_sum(leaves: Sequence[Array], axes: tuple[str, ...]) -> Iterator[Array]:
    """Add arrays over devices as one vector, of the widest of their dtypes."""
    if not leaves:
        return
    wide = max((a.dtype for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)), key=_bits)
    flat = lax.psum(jnp.concatenate([a.astype(wide).ravel() for a in leaves]), axes)
    start = 0
    for a in leaves:
        yield flat[start : start + a.size].reshape(a.shape).astype(a.dtype)
        start += a.size


def _bits(dtype: Any) -> int:
    return jnp.finfo(dtype).bits
