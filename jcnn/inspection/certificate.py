"""The operations of a user's own network, at its own shapes, on whole numbers: a certificate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context
from typing import Any

import jax
import jax.numpy as jnp

from jcnn import ops as explicit_ops
from jcnn.config import Experiment
from jcnn.console import styled, wide
from jcnn.proof.exact import ExactRow, check_exact
from jcnn.proof.oracle import OPERATIONS
from jcnn.proof.recording import Call, Recorder
from jcnn.proof.whole_numbers import SUMS
from jcnn.runs.environment import described, hardware, versions


@dataclass(frozen=True)
class Certificate:
    """What :func:`certify` compared, on which machine.

    Attributes:
        name: The experiment's.
        batch_size: Examples in a batch.
        rows: A row per operation, program and tensor.
        left_out: Operations of the network that are not made of sums, products and selections.
        seconds: How long it took.
        versions: Of jcnn, Python, JAX and what else shapes a result.
        hardware: The processor and what JAX computes on.
    """

    name: str
    batch_size: int
    rows: tuple[ExactRow, ...]
    left_out: tuple[str, ...]
    seconds: float
    versions: dict[str, str]
    hardware: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether every element is right; a certificate without any has shown nothing."""
        return self.elements > 0 and self.wrong is None

    @property
    def wrong(self) -> ExactRow | None:
        """The first row with an element that is not right."""
        return next((row for row in self.rows if row.first is not None), None)

    @property
    def elements(self) -> int:
        """How many elements were compared."""
        return sum(row.elements for row in self.rows)

    @property
    def shown(self) -> dict[str, int]:
        """How many elements have been shown to be what, in words."""
        counts: Counter[str] = Counter()
        for row in self.rows:
            counts[row.shown] += row.elements
        return dict(counts)

    @property
    def chance(self) -> float | None:
        """With what probability one that adds wrong products, of those of a bound, has passed."""
        return max((row.chance for row in self.rows if row.chance is not None), default=None)

    @property
    def lowerings(self) -> list[str]:
        """The lowerings met."""
        return sorted({name for row in self.rows for name in row.lowering})

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        figures = ("passed", "elements", "shown", "chance", "lowerings")
        return {name: getattr(self, name) for name in figures} | asdict(self)


def certify(
    experiment: Experiment,
    *,
    batch_size: int | None = None,
    draws: int = 2,
    programs: Sequence[str] = ("jit", "scan"),
    ops: Any = explicit_ops,
    report: Callable[[str], None] = lambda line: None,
) -> Certificate:
    """Compare each operation of a network with ``==`` on whole numbers.

    Args:
        experiment: The network, its input's shape, batch size and precision.
        batch_size: Examples in a batch; the experiment's own if None.
        draws: How often whole numbers are drawn for each operation.
        programs: In what each operation is compiled; see :func:`jcnn.proof.exact.check_exact`.
        ops: The operations under test, if not :mod:`jcnn.ops`.
        report: Told what is being compared.

    Returns:
        A :class:`Certificate`.

    Raises:
        TooLargeError: An operation's sums leave the range in which whole numbers are exact.
    """
    start = time.perf_counter()
    batch_size = batch_size or experiment.training.batch_size
    rows: list[ExactRow] = []
    left_out: list[str] = []
    for call in calls_of(experiment, batch_size):
        if call.op not in OPERATIONS:
            left_out.append(call.op)
            continue
        report(str(call))
        rows += check_exact(call, ops=ops, programs=programs, draws=draws, seed=experiment.seed)
    return Certificate(
        experiment.name,
        batch_size,
        tuple(rows),
        tuple(dict.fromkeys(left_out)),
        time.perf_counter() - start,
        versions(),
        hardware(),
    )


def calls_of(experiment: Experiment, batch_size: int) -> list[Call]:
    """Return the operations that training calls, each set of shapes and options once."""
    recorder: Any = Recorder()
    model, dtype = experiment.model, jnp.dtype(experiment.training.precision)

    def outputs(x: jax.Array) -> jax.Array:
        key = jax.random.key(experiment.seed)
        params, state = model.init(key, experiment.input_shape)
        params = jax.tree.map(lambda a: a.astype(dtype), params)
        return model.apply(params, state, x, training=True, key=key, ops=recorder)[0]

    jax.eval_shape(outputs, jax.ShapeDtypeStruct((batch_size, *experiment.input_shape), dtype))
    return list(recorder.calls)


def print_certificate(certificate: Certificate) -> None:
    """Print what was compared and the verdict, or the first element that differs."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("", "operation", "tensors", "programs", "lowerings", "evidence"):
        table.add_column(column, overflow="fold")
    table.add_column("elements", justify="right")
    for operation in dict.fromkeys(row.operation for row in certificate.rows):
        table.add_row(*_cells([row for row in certificate.rows if row.operation == operation]))
    console = wide(110, highlight=False)
    console.print(table)
    for line in _lines(certificate):
        console.print(line)


def _cells(rows: list[ExactRow]) -> list[Any]:
    def joined(values: Any) -> str:
        return ", ".join(dict.fromkeys(values))

    share = max(row.share for row in rows)
    bound = f"; at most {share:.1e} of the bound" if share else ""
    return [
        "ok" if all(row.passed for row in rows) else styled("FAIL", "red"),
        rows[0].operation,
        joined(row.tensor for row in rows),
        joined(row.program for row in rows),
        joined(name for row in rows for name in row.lowering) or "-",
        joined(row.evidence for row in rows) + bound,
        f"{sum(row.elements for row in rows):,}",
    ]


def _lines(c: Certificate) -> list[Any]:
    where = described(c.hardware, c.versions)
    lines: list[Any] = [f"batch {c.batch_size}; {where}; {c.seconds:.0f} s"]
    if c.left_out:
        lines.append(
            f"not sums, products or selections, so not compared here: {', '.join(c.left_out)}; "
            "`jcnn check` without --exact holds them against jax.grad in float64"
        )
    if not c.elements:
        nothing = "nothing was compared, so nothing is shown: expected an operation that is exact"
        return [*lines, styled(f"{nothing}, such as a convolution, found none", "red")]
    if c.wrong is None:
        return [
            *lines,
            styled(f"every one of {c.elements:,} elements is right", "green"),
            *_shown(c),
        ]
    row, first = c.wrong, c.wrong.first
    assert first is not None
    return [
        *lines,
        styled(
            f"{row.operation}: {row.tensor} (in {row.program}) at {first.index}: "
            f"expected {first.expected:.12g}, found {first.found:.12g}",
            "red",
        ),
    ]


def _shown(c: Certificate) -> list[str]:
    """What that says of how many, since it isn't the same of all."""
    lines = [f"  {count:,}: {what}" for what, count in c.shown.items()]
    if c.chance is None:
        return lines
    passes = (
        "a program that adds up wrong products would pass with a probability of at most "
        f"{_percent(c.chance)}"
    )
    return [f"{line}; {passes}" if line.endswith(SUMS) else line for line in lines]


def _percent(chance: float) -> str:
    """Two digits, rounded up: it is a bound.

    >>> _percent((2 / 7) ** 2), _percent(4e-9)
    ('8.2 %', '4.1e-7 %')
    """
    digits = Context(prec=2, rounding=ROUND_CEILING)
    return f"{digits.create_decimal_from_float(100 * chance):g} %"
