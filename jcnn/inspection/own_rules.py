"""Gradient rules that a model brings along, which stand on both sides of a comparison.

A layer of one's own that has a ``custom_vjp`` is the same through :mod:`jcnn.ops` and through
:mod:`jcnn.reference`: what ``jax.grad`` makes of the reference is then that rule itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

_RULES = ("custom_vjp_call", "custom_jvp_call")
_OF_JAX = f" at {Path(jax.__file__).parent}{os.sep}"


def own_rules(function: Callable[..., Any], *args: Any) -> tuple[str, ...]:
    """Return a note on each rule that a function of arrays calls and JAX didn't bring."""
    found = dict.fromkeys(_found(jax.make_jaxpr(function)(*args).jaxpr))
    return tuple(
        f"{layer or 'the loss'}: {name} has a gradient rule of its own, on both sides here: for it "
        "jax.grad is that rule itself, and differences alone speak; jcnn.proof.check_rule holds it"
        for layer, name in found
    )


def _found(jaxpr: Any, within: str = "") -> Iterator[tuple[str, str]]:
    """The layer, as the names of its scopes say, and the function that has the rule."""
    for equation in jaxpr.eqns:
        scopes = (within, str(equation.source_info.name_stack).replace("/", "."))
        layer = ".".join(filter(None, scopes))
        if equation.primitive.name not in _RULES:
            for inner in jaxprs_in_params(equation.params):
                yield from _found(inner, layer)
            continue
        written = equation.params["call_jaxpr"].jaxpr.debug_info.func_src_info
        if _OF_JAX not in written:
            yield layer, written.partition(" ")[0]
