"""What an optimized program is made of, read from XLA's text of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np

# Asynchronous ones are written as a start and an end.
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_KINDS = "|".join(COLLECTIVES)
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*?) ([a-z][\w-]*)\((.*)$", re.MULTILINE)
_COLLECTIVE = re.compile(rf"^({_KINDS})(?:-start)?$")
_SHAPE = re.compile(r"\b([a-z]\w*?)\[([\d,]*)\]")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_NAME = re.compile(r'op_name="([^"]*)"')
_OPERAND = re.compile(r"%([\w.-]+)")
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_ROWS = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
# What moves nothing.
_FREE = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast")
_BITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Collective:
    """What devices exchange.

    Attributes:
        kind: One of ``COLLECTIVES``.
        size: Bytes of the arrays that a device gives or gets, whichever are more.
        group: Those of the first group that exchanges among itself, by their numbers; none where
            all do.
    """

    kind: str
    size: int
    group: tuple[int, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """One line of a program.

    Attributes:
        name: Its name.
        kind: Its operation, such as "fusion" or "convolution".
        shape: The shape of its result, as XLA writes it.
        rest: What follows.
    """

    name: str
    kind: str
    shape: str
    rest: str

    @property
    def cycles(self) -> int:
        """What the compiler for TPUs says that it takes; 0 where it says nothing."""
        found = _CYCLES.search(self.rest)
        return int(found[1]) if found else 0

    @property
    def origin(self) -> str:
        """The operation of JAX that it is from."""
        found = _NAME.search(self.rest)
        return found[1] if found else ""


def instructions(text: str) -> Iterator[Instruction]:
    """Yield every instruction, those within fusions and loops too."""
    for name, shape, kind, rest in _INSTRUCTION.findall(text):
        yield Instruction(name, kind, shape, rest)


def entry(text: str) -> Iterator[Instruction]:
    """Yield the instructions of the program itself, not those of its fusions, loops and sums."""
    _, _, begun = text.partition("\nENTRY ")
    return instructions(begun.partition("\n}")[0])


def moved(text: str) -> Iterator[tuple[Instruction, int]]:
    """Yield the program's own instructions with the bytes that each reads and writes."""
    lines = list(entry(text))
    shapes = {line.name: line.shape for line in lines}
    for line in lines:
        if line.kind in _FREE:
            continue
        operands = _OPERAND.findall(line.rest.partition(")")[0])
        yield (
            line,
            sum(shape_bytes(shapes.get(name, "")) for name in operands) + shape_bytes(line.shape),
        )


def counts(text: str) -> Counter[str]:
    """Count the instructions of each kind."""
    return Counter(instruction.kind for instruction in instructions(text))


def collectives(text: str) -> tuple[Collective, ...]:
    """Return what the devices exchange, in the program's order.

    >>> line = "  ROOT %sum = (f32[3,2]{1,0}, s32[]) all-reduce(%a, %b), to_apply=%add"
    >>> collectives(line)
    (Collective(kind='all-reduce', size=28, group=()),)
    """
    lines = list(instructions(text))
    shapes = {line.name: line.shape for line in lines}
    found = []
    for line in lines:
        if kind := _COLLECTIVE.match(line.kind):
            operands = _OPERAND.findall(line.rest.partition(")")[0])
            given = sum(shape_bytes(shapes.get(name, "")) for name in operands)
            got = shape_bytes(line.shape)
            if line.kind in ("all-gather-start", "collective-permute-start"):
                got -= given  # its result is a pair of what is given and what is got
            found.append(Collective(kind[1], max(given, got), first_group(line.rest)))
    return tuple(found)


def first_group(text: str) -> tuple[int, ...]:
    """Return the numbers of the devices of a collective's first group; none where all are one.

    Groups are listed, or the rows of all numbers in another order.

    >>> first_group("replica_groups={{0,2},{1,3}}"), first_group("replica_groups={}")
    ((0, 2), ())
    >>> first_group("replica_groups=[4,2]<=[8]"), first_group("replica_groups=[2,4]<=[4,2]T(1,0)")
    ((0, 1), (0, 2, 4, 6))
    """
    if listed := _LISTED.search(text):
        return tuple(_numbers(listed[1]))
    if not (rows := _ROWS.search(text)):
        return ()
    sizes, order = _numbers(rows[2]), rows[3]
    everyone = np.arange(prod(sizes)).reshape(sizes)
    turned = everyone.transpose(_numbers(order)) if order else everyone
    return tuple(turned.reshape(_numbers(rows[1]))[0].tolist())


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def shape_bytes(shape: str) -> int:
    """Return the bytes of the arrays of a shape, without what a layout adds.

    >>> shape_bytes("(bf16[2,3]{1,0}, pred[])"), shape_bytes("f32[8,128]{1,0:T(8,128)S(1)}")
    (13, 4096)
    """
    total = 0
    for dtype, sizes in _SHAPE.findall(re.sub(r"\{[^}]*\}", "", shape)):
        bits = _BITS.search(dtype)
        width = 1 if dtype == "pred" else int(bits[0]) // 8 if bits else 0
        elements = 1
        for size in filter(None, sizes.split(",")):
            elements *= int(size)
        total += width * elements
    return total
