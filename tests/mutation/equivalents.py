"""Mutants that compute the same numbers, by the reason."""

from __future__ import annotations

# ruff: noqa: E501
_BY_REASON: dict[str, tuple[str, ...]] = {
    "multiplication commutes": (
        "ops/rectifiers.py: _prelu: _leaking(slope, x) → _leaking(x, slope)",
        "ops/rectifiers.py: _prelu.pullback: _leaking(slope, dy) → _leaking(dy, slope)",
        "lowering/fold.py: Fold.block: zip(self.outputs, self.plain.strides, strict=True) → zip(self.plain.strides, self.outputs, strict=True)",
        "lowering/fold.py: _unfold: zip(sizes, block, strict=True) → zip(block, sizes, strict=True)",
    ),
    "no more is counted than is padded, so that as much at least is as much": (
        "ops/pooling.py: _divisor: counted == g.padding → counted >= g.padding",
    ),
    "a length that is left open is so with its padding": (
        "ops/pooling.py: _divisor: g.size → g.padded",
    ),
    "a span per axis, as there is a window": (
        "geometry.py: Geometry.rank: self.window → self.span",
    ),
    "more of the padding than needed is put into the input": (
        "geometry.py: Geometry.excess: self.span → self.window",
    ),
    "a check: no group at all is refused with another message": (
        "geometry.py: place: 1 → 0",
    ),
    "a check: padding that leaves nothing of the input is refused": (
        "geometry.py: place: any(map(any, resolved.borde… → all(map(any, resolved.borde…",
    ),
    "a folded window larger than it need be holds zeros": (
        "lowering/fold.py: Fold.folded: 1 → 0",
        "lowering/fold.py: Fold.folded: g.strides → g.dilation",
        "lowering/fold.py: Fold.folded: t * s → s",
    ),
    "one block of all images is the whole batch": (
        "lowering/blocks.py: map_blocks: size >= batch → size > batch",
        "lowering/blocks.py: sum_blocks: size >= batch → size > batch",
    ),
    "the number of channels or features only chooses the lowering": (
        "lowering/correlations.py: correlate: -1 → 1",
        "lowering/correlations.py: correlate: 1 → 0",
        "lowering/correlations.py: input_gradient: -1 → 1",
        "lowering/correlations.py: input_gradient: w.shape[-2] * g.groups → w.shape[-2]",
        "lowering/correlations.py: input_gradient: w.shape[-2] * g.groups → w.shape[-2] / g.groups",
        "lowering/correlations.py: input_gradient: 1 → 2",
        "lowering/correlations.py: kernel_gradient: -1 → 1",
        "lowering/correlations.py: kernel_gradient: 1 → 0",
    ),
    "the number of examples only chooses the lowering": (
        "lowering/correlations.py: _run: 0 → 1",
    ),
    "no other platform's name comes before": (
        "lowering/correlations.py: _run: jax.default_backend() != 'cpu' → jax.default_backend() > 'cpu'",
    ),
    "a few groups or taps run one by one or in a loop": (
        "lowering/correlations.py: _each_group: g.groups <= GROUPS_UNROLLED → g.groups > GROUPS_UNROLLED",
        "lowering/direct.py: correlate: g.taps > UNROLLED → g.taps <= UNROLLED",
        "lowering/direct.py: kernel_gradient: g.taps > UNROLLED → g.taps <= UNROLLED",
    ),
    "windows that touch don't overlap: sums of one block each": (
        "lowering/large_windows.py: _sum_along: k <= s → k < s",
    ),
    "never more than all": (
        "lowering/large_windows.py: _doubled_sum: done == k → done >= k",
    ),
    "any number of outputs may be folded together": (
        "lowering/fold.py: correlate: -1 → 1",
        "lowering/fold.py: correlate: 1 → 0",
        "lowering/fold.py: input_gradient: w.shape[-2] * g.groups → w.shape[-2] / g.groups",
        "lowering/fold.py: input_gradient: w.shape[-2] * g.groups → w.shape[-2]",
        "lowering/fold.py: input_gradient: -1 → 1",
        "lowering/fold.py: input_gradient: 1 → 2",
        "lowering/fold.py: kernel_gradient: -1 → 1",
        "lowering/fold.py: kernel_gradient: 1 → 0",
        "lowering/fold.py: Fold.of: outputs_a_block(g, channels, features) → outputs_a_block(g, features, channels)",
    ),
    "how many images a block holds": (
        "lowering/patches.py: correlate: g.taps == 1 → g.taps != 1",
    ),
    "sums may be taken from any pivot": (
        "ops/normalization.py: _pivot: 0 → 1",
    ),
    "in how many runs elements are taken": (
        "ops/padding.py: _goes_on: element - row[-1] → element + row[-1]",
        "ops/padding.py: _goes_on: return abs(step) < 2 and (len(row) == 1 or step == row[1] - row[0]) → return 1.01 * (abs(step) < 2 and (len(row) == 1 or step == row[1] - row[0]))",
    ),
    "a run of one element has no direction": (
        "ops/padding.py: _runs: 1 → 0",
    ),
    "parts of a table's key may stand in any order": (
        "ops/vmapped.py: Vmapped._lower: (self._primitive.name, statics, policy) → (self._primitive.name, policy, statics)",
    ),
    "true is true": (
        "ops/devices.py: equal_on_all: return tracked(lax.axis_index(mesh_axis), mesh_axis) and (not tracked(x, mesh_axis)) → return 1.01 * (tracked(lax.axis_index(mesh_axis), mesh_axis) and (not tracked(x, mesh_axis)))",
        "ops/devices.py: tracked: return jax.typeof(x).manual_axi… → return 1.01 * jax.typeof(x).manual_axi…",
    ),
    "no hop is to the device itself": (
        "ops/halo.py: extended: hop.device < 0 → hop.device <= 0",
        "ops/halo.py: extended: 0 → 1",
    ),
    "nothing over any number is nothing": (
        "ops/normalization.py: _count: 1 → 2",
        "ops/losses.py: _elements: 1 → 0",
    ),
    "which of two numbers is subtracted first": (
        "ops/normalization.py: _squared: _centred(x, pivot, mean) → _centred(x, mean, pivot)",
        "ops/normalization.py: _against: _centred(x, pivot, mean) → _centred(x, mean, pivot)",
    ),
    "a gradient without an element is what a lowering gives, too": (
        "ops/triple.py: input_gradient: geometry.size → geometry.padded",
    ),
    "in how many parts is summed": (
        "lowering/sums.py: sum_of_parts: 0 → 1",
    ),
    "along which axis parts are summed, and whether they are": (
        "lowering/direct.py: _tap: …art_count(dy.shape[0]) >= part_count(dy.shape[1]) → …art_count(dy.shape[0]) > part_count(dy.shape[1])",
        "lowering/direct.py: _tap: 0 → 1",
        "lowering/sums.py: channel_sum: len(axes) == 1 → len(axes) != 1",
        "lowering/sums.py: channel_sum: -2 → 2",
    ),
    "which factor of the product is transposed": (
        "lowering/patches.py: kernel_gradient: -1 → 1",
        "lowering/patches.py: kernel_gradient: 1 → 0",
        "lowering/patches.py: kernel_gradient: g.taps * x.shape[-1] < dy.shape[-1] → g.taps * x.shape[-1] >= dy.shape[-1]",
        "lowering/patches.py: kernel_gradient: g.taps * x.shape[-1] → g.taps / x.shape[-1]",
        "lowering/patches.py: kernel_gradient: g.taps * x.shape[-1] → x.shape[-1]",
    ),
    "in how many operations NaN is looked for": (
        "lowering/pools.py: _max_pool: 4 → 3",
    ),
    "a pool of any size may take either": (
        "lowering/pools.py: gather: _chosen('gather', g, x) == 'placed' → _chosen('gather', g, x) >= 'placed'",
        "lowering/large_windows.py: _max_along: k <= s → k < s",
    ),
    "the greatest common divisor is the same of both orders": (
        "lowering/large_windows.py: _spread_along: gcd(k, s) → gcd(s, k)",
        "lowering/large_windows.py: _max_along: gcd(k, s) → gcd(s, k)",
    ),
    "undilated windows span as much as they hold": (
        "lowering/pools.py: _inside: g.window → g.span",
        "lowering/pools.py: _is_winner: g.window → g.span",
        "lowering/winograd.py: kernel_gradient: g.window → g.span",
        "lowering/winograd.py: _add_tiles: g.window → g.span",
        "lowering/winograd.py: _matrix: g.window → g.span",
        "lowering/winograd.py: tile_elements: g.window → g.span",
        "lowering/xla_pools.py: _windows: g.window → g.span",
        "lowering/large_windows.py: _sum_along: g.window → g.span",
        "lowering/large_windows.py: _spread_along: g.window → g.span",
        "lowering/large_windows.py: _max_along: g.window → g.span",
        "lowering/pools.py: _reach: g.window → g.span",
    ),
    "from which size on a loop is worth it: any is right": (
        "ops/folds.py: of_kernel: g.window → g.span",
        "ops/folds.py: of_kernel: 1 → 0",
        "ops/folds.py: _looped: …prod(statics[0].output) * prod(kernel[1:]) → …prod(statics[0].output) / prod(kernel[1:])",
        "ops/folds.py: _looped: arrays[0].shape[1] * prod(statics[0].output) * prod(kernel[1:]) → prod(kernel[1:])",
        "ops/folds.py: _looped: 1 → 0",
        "ops/folds.py: _looped: work < SMALL → work >= SMALL",
    ),
    "no other platform's name comes after": (
        "lowering/xla_pools.py: serves: … jax.default_backend()) == 'tpu' → … jax.default_backend()) >= 'tpu'",
    ),
    "a comparison of fewer bits, or of all": (
        "lowering/pools.py: _is_winner: k <= s → k < s",
        "lowering/pools.py: _is_winner: -1 → 1",
    ),
    "half precision has two bytes": (
        "precision.py: is_half: 4 → 3",
    ),
    "the range ends there": (
        "lowering/winograd.py: matrices: i == n - 1 → i >= n - 1",
    ),
    "the same product, its zeros left out or not": (
        "lowering/winograd.py: _inputs: axis == 0 → axis != 0",
    ),
    "channels of one group stay where they are": (
        "lowering/winograd.py: _by_group: 1 → 0",
        "lowering/winograd.py: _side_by_side: 1 → 0",
    ),
    "a multiple of zero": (
        "ops/triple.py: correlation: return jnp.zeros((x.shape[0], *… → return 1.01 * jnp.zeros((x.shape[0], *…",
        "ops/triple.py: input_gradient: return jnp.zeros((dy.shape[0], … → return 1.01 * jnp.zeros((dy.shape[0], …",
        "ops/triple.py: kernel_gradient: return jnp.zeros((*geometry.win… → return 1.01 * jnp.zeros((*geometry.win…",
        "ops/normalization.py: _pivot: return jnp.zeros((*(1 for _ in … → return 1.01 * jnp.zeros((*(1 for _ in …",
        "ops/activations.py: _flat.pullback: return jnp.zeros_like(dy) → return 1.01 * jnp.zeros_like(dy)",
    ),
    "a check of the bias's shape": (
        "ops/dense.py: dense: -1 → 1",
    ),
    "where arrays are placed on devices": (
        "ops/dense.py: dense: range(x.ndim - 1) → range(1, x.ndim - 1)",
        "ops/local_response.py: _neighbours: range(x.ndim) → range(1, x.ndim)",
        "ops/max_pooling.py: _place: 0 → 1",
        "ops/dense.py: dense: x.ndim - 1 → x.ndim",
    ),
    "a check that two shapes are the same": (
        "ops/losses.py: mean_squared_error: …d_error', 'prediction', prediction, target) → …d_error', 'prediction', target, prediction)",
        "ops/losses.py: binary_cross_entropy: …oss_entropy', 'logits', logits, target) → …oss_entropy', 'logits', target, logits)",
    ),
    "the last of two axes": (
        "ops/pooling.py: _spread_evenly: -1 → 1",
    ),
    "the mean over no axis": (
        "ops/losses.py: _mean_of_example: a.ndim > 1 → a.ndim >= 1",
    ),
    "a check: a size of none is refused": (
        "ops/local_response.py: local_response_norm: 1 → 0",
    ),
    "of one element JAX takes that one": (
        "ops/max_pooling.py: _pick: 0 → 1",
    ),
    "the order in which the two get their rules": (
        "ops/rule.py: Linear.adjoint: ((self, other), (other, self)) → ((other, self), (self, other))",
    ),
    "what doesn't count may be anything": (
        "ops/classification.py: softmax_cross_entropy: 0 → 1",
        "ops/classification.py: _counted: 0 → 1",
        "ops/classification.py: _loss_of_classes: 0 → 1",
    ),
    "true is what isn't zero": (
        "ops/classification.py: _is_absent: return (logits == -jnp.inf) & (target == 0) → return 1.01 * ((logits == -jnp.inf) & (target == 0))",
        "ops/dropout.py: _drawn: return jax.random.bernoulli(key… → return 1.01 * jax.random.bernoulli(key…",
    ),
    "axes that no name stands for are not split": (
        "ops/dropout.py: _drawn: (None,) * (len(shape) - len(spec)) → (None,)",
    ),
    "a root that is not selected": (
        "lowering/windows.py: nan_where: 0 → 1",
    ),
    "no integer is of three bytes": (
        "ops/classification.py: _wide: 4 → 3",
    ),
    "both parts of a ratio": (
        "ops/gelu.py: _polynomial: return total → return 1.01 * total",
    ),
    "no dtype is wider": (
        "ops/gelu.py: _below: a.dtype == jnp.float64 → a.dtype >= jnp.float64",
    ),
    "both sides are zero at zero": (
        "ops/rectifiers.py: _prelu: x > 0 → x >= 0",
    ),
}  # fmt: skip
EQUIVALENT = {name: reason for reason, names in _BY_REASON.items() for name in names}
