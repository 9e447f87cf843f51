"""Subjects take turns, and what is made of their times."""

import pytest

from jcnn.benchmark import Effort, Row
from jcnn.benchmark.rows import geometric_mean, timed_row
from jcnn.benchmark.steps import fastest_layout
from jcnn.benchmark.timing import Subject, Timing, measure


class Clock:
    """A subject whose runs take what is written down."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.counts = list(seconds), []

    def __call__(self, count: int) -> float:
        self.counts.append(count)
        return count * (self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0])


def test_subjects_take_turns_and_a_slow_one_gets_fewer_samples():
    order: list[str] = []

    def of(name: str, seconds: float) -> Subject:
        return Subject(name, lambda count: (order.append(name), seconds * count)[1])

    timings = measure(
        [of("fast", 3.0), of("slow", 10.0)], Effort(repeats=6, seconds=30.0, sample_seconds=0.1)
    )
    assert [len(timings[name].samples) for name in ("fast", "slow")] == [6, 3]
    taken = "".join(name[0] for name in order[4:])
    rounds = [taken[i : i + n] for i, n in ((0, 1), (1, 2), (3, 1), (4, 2), (6, 1), (7, 2))]
    assert ["".join(sorted(round_)) for round_ in rounds] == ["f", "fs"] * 3


def test_the_order_changes_from_round_to_round():
    order: list[str] = []
    names = ("one", "two", "three")
    subjects = [Subject(name, lambda _, n=name: (order.append(n), 3.0)[1]) for name in names]
    measure(subjects, Effort(repeats=8, seconds=100.0))
    rounds = [tuple(order[i : i + 3]) for i in range(6, len(order), 3)]
    assert all(sorted(round_) == sorted(names) for round_ in rounds)
    assert len(set(rounds)) > 1


def test_a_subject_slower_than_all_its_time_runs_once():
    clock = Clock(60.0)
    timings = measure([Subject("slow", clock, units=20)], Effort(seconds=5.0))
    assert clock.counts == [1]
    assert timings["slow"].samples == (3.0,)


def test_where_a_run_takes_longer_than_all_the_time_the_second_is_the_sample():
    clock = Clock(20.0, 8.0)
    timings = measure([Subject("slow", clock, units=2)], Effort(seconds=5.0))
    assert clock.counts == [1, 1]
    assert timings["slow"].samples == (4.0,)
    known = Clock(8.0)
    timings = measure([Subject("slow", known, first=20.0)], Effort(seconds=5.0))
    assert known.counts == [1]
    assert timings["slow"].samples == (8.0,)


def test_a_slow_first_run_alone_leaves_the_later_samples():
    clock = Clock(6.0, 3.0)
    timings = measure([Subject("cold", clock)], Effort(seconds=5.0))
    assert timings["cold"].samples == (3.0, 3.0, 3.0)


def test_short_runs_share_a_sample_after_one_as_long_that_is_not_timed():
    clock = Clock(0.004)
    timings = measure([Subject("short", clock, units=4)], Effort(repeats=3, sample_seconds=0.02))
    assert clock.counts == [1, 1, *[5, 5] * 3]
    assert timings["short"].median == pytest.approx(0.001)


def test_slow_first_runs_do_not_leave_later_samples_short():
    clock = Clock(0.05, 0.03, 0.004)
    timings = measure([Subject("short", clock)], Effort(repeats=2, sample_seconds=0.02))
    assert clock.counts == [1, 1, 1, 5, 5, 5]
    assert timings["short"].samples == pytest.approx((0.004, 0.004))


def test_ratio_is_the_others_over_ours():
    row = timed_row("step", {"jcnn": Timing((0.002,)), "jax.grad": Timing((0.008, 0.01, 0.012))})
    assert row.values["jcnn"] == pytest.approx(2.0)
    assert row.ratio == {"jax.grad": pytest.approx(5.0)}
    spread = {"n": 3, "min": 8.0, "q1": 9.0, "q3": 11.0}
    assert row.spread["jax.grad"] == pytest.approx(spread)
    found = row.to_dict()
    assert found["torch"] is None
    assert found["unit"] == "ms"


def test_geometric_mean_of_ratios():
    rows = [Row(str(k), "ms", {}, {"jax.grad": ratio}) for k, ratio in enumerate((2.0, 8.0))]
    mean = geometric_mean("forward", rows)
    assert mean.ratio == {"jax.grad": pytest.approx(4.0)}
    assert "over 2" in mean.note
    assert "jax.grad 2.00" in mean.note


def test_pytorchs_faster_layout_is_kept():
    timings = {
        "jcnn": Timing((1.0,)),
        "torch contiguous": Timing((3.0,)),
        "torch channels_last": Timing((2.0,)),
    }
    assert fastest_layout(timings) == "channels_last"
    assert timings == {"jcnn": Timing((1.0,)), "torch": Timing((2.0,))}
