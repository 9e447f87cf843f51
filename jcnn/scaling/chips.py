"""What chips and their links are said to do, with where it is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2, prod

from jcnn.errors import UserError

_CLOUD = "https://docs.cloud.google.com/tpu/docs"
_HOPS = "https://jax-ml.github.io/scaling-book/tpus (about 1 us a hop)"
_HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class Chip:
    """A chip and how it is joined to others.

    Attributes:
        name: As ``--chip`` takes it.
        platform: "tpu" or "gpu".
        flops: Operations a second by precision, as products and sums are computed by default.
        memory_bytes: Size of its memory.
        memory_rate: Bytes a second from and to its memory.
        clock: Cycles a second of a TPU's core, from peak and number of its multipliers; else None.
        link_rate: Bytes a second that one link sends.
        island: The most chips that its fast links join.
        wraps: Length of a torus's axis from which its ends are joined; 0: a switch joins all.
        network_rate: Bytes a second that a chip sends beyond its island.
        hop_seconds: What a message takes from chip to chip, however short.
        sources: Where the figures are from.
    """

    name: str
    platform: str
    flops: Mapping[str, float]
    memory_bytes: float
    memory_rate: float
    clock: float | None
    link_rate: float
    island: int
    wraps: int
    network_rate: float
    hop_seconds: float
    sources: tuple[str, ...]

    def torus(self, chips: int) -> tuple[int, ...]:
        """Return the axes that ``chips`` of an island are arranged along.

        Raises:
            UserError: No slice of a TPU has so many.
        """
        if not self.wraps:
            return (chips,)
        axes, power = (2 if self.island == 256 else 3), log2(chips)
        if power != int(power) or chips == 2:
            below = 1 if chips < 4 else 2 ** int(power)
            raise UserError(
                f"--devices {chips}: expected the chips of a slice of {self.name}, "
                f"1 or a power of two from 4 on (such as {below} or {max(4, 2 * below)})"
            )
        sizes = [2 ** (int(power) // axes + (axis < int(power) % axes)) for axis in range(axes)]
        if chips == 4:
            return 2, 2, *(1,) * (axes - 2)
        return tuple(sorted(sizes))

    def islands(self, chips: int) -> tuple[int, tuple[int, ...]]:
        """Return into how many islands so many chips are split, and the axes of each.

        Raises:
            UserError: They fill no whole number of islands, or no slice has so many.
        """
        if chips <= self.island:
            return 1, self.torus(chips)
        if chips % self.island:
            raise UserError(
                f"--devices {chips}: expected a multiple of {self.island}, the most chips that "
                f"{self.name}'s links join, or fewer"
            )
        return chips // self.island, self.torus(self.island)

    def exchange_seconds(
        self, kind: str, size: float, chips: int, group: Sequence[int] = ()
    ) -> float:
        """Return what a collective of ``size`` bytes takes at least among so many chips.

        A reduce-scatter and an all-gather are the two halves of an all-reduce. A permutation sends
        each chip's bytes along one link.

        Args:
            kind: One of :data:`jcnn.scaling.hlo.COLLECTIVES`.
            size: Bytes of each chip.
            chips: How many there are.
            group: The numbers of those that exchange among themselves, as others do; all where
                empty. Those of an island are taken for a slice of it.
        """
        if kind == "collective-permute":
            return size / self.link_rate + self.hop_seconds if chips > 1 else 0.0
        arranged = self._arranged(group) if group else self.islands(chips)
        whole = self._sum_seconds(size, *arranged)
        return whole if kind == "all-reduce" else whole / 2

    def all_reduce_seconds(self, size: float, chips: int) -> float:
        """Return what it takes at least to add up ``size`` bytes of each of so many chips.

        Within an island each chip sends its bytes twice, but for one share of them; between
        islands, the share that it has added up there. What is sent along links of several axes is
        sent at once.
        """
        return self._sum_seconds(size, *self.islands(chips))

    def _arranged(self, group: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Return over how many islands a group's chips lie, and the axes of those of one."""
        islands = len({number // self.island for number in group})
        inner = max(1, len(group) // islands)
        is_slice = inner != 2 and not inner & (inner - 1)
        return islands, self.torus(inner) if is_slice or not self.wraps else (inner,)

    def _sum_seconds(self, size: float, islands: int, axes: tuple[int, ...]) -> float:
        if islands * prod(axes) == 1 or not size:
            return 0.0
        inner, hops, links = prod(axes), 0.0, 0
        for n in axes:
            joined = self.wraps and n >= self.wraps
            hops += log2(n) if not self.wraps else n / 2 if joined else n - 1
            links += 0 if n == 1 else 2 if joined else 1
        seconds = 2 * hops * self.hop_seconds
        if inner > 1:
            seconds += 2 * size * (inner - 1) / inner / (links * self.link_rate)
        if islands > 1:
            seconds += 2 * size / inner * (islands - 1) / islands / self.network_rate
            seconds += 2 * log2(islands) * self.hop_seconds
        return seconds


def _tpu(name: str, flops: float, **figures: float) -> Chip:
    return Chip(
        name=name,
        platform="tpu",
        flops=dict.fromkeys(("float32", *_HALF), flops),  # products of bfloat16, unless asked
        hop_seconds=1e-6,
        sources=(f"{_CLOUD}/{name}", _HOPS),
        **figures,  # pyright: ignore[reportArgumentType]
    )


CHIPS = {
    chip.name: chip
    for chip in (
        _tpu(
            "v5e",
            197e12,
            memory_bytes=16e9,
            memory_rate=819e9,
            clock=1.5e9,  # 197e12 over 4 multipliers of 128 x 128 times 2
            link_rate=50e9,  # 400 GB/s in both directions of 4 ports
            island=256,
            wraps=16,
            network_rate=3.125e9,  # 6.4 Tbit/s for the 256 of a pod
        ),
        _tpu(
            "v5p",
            459e12,
            memory_bytes=95 * 2**30,
            memory_rate=2765e9,
            clock=1.75e9,  # 459e12 over 8 multipliers of 128 x 128 times 2
            link_rate=100e9,  # 1200 GB/s in both directions of 6 ports
            island=4096,  # the largest power of two of the 6144 of a job
            wraps=4,
            network_rate=6.25e9,  # 50 Gbit/s a chip
        ),
        Chip(
            name="h100",
            platform="gpu",
            flops={"float32": 494.7e12, **dict.fromkeys(_HALF, 989.4e12)},  # TF32, as by default
            memory_bytes=80e9,
            memory_rate=3.35e12,
            clock=None,
            link_rate=450e9,  # NVLink: 900 GB/s in both directions
            island=8,
            wraps=0,
            network_rate=50e9,  # a 400 Gbit/s adapter for each GPU
            hop_seconds=5e-6,
            sources=(
                "NVIDIA H100 Tensor Core GPU data sheet, SXM5, dense figures",
                "NVIDIA DGX H100 data sheet: 8 GPUs, an adapter of 400 Gbit/s for each",
                "5 us a hop is an assumption",
            ),
        ),
    )
}


def chip_of(name: str) -> Chip:
    """Return the chip of this name.

    Raises:
        UserError: There is none.
    """
    if name not in CHIPS:
        raise UserError(f"--chip '{name}': expected one of {', '.join(CHIPS)}")
    return CHIPS[name]
