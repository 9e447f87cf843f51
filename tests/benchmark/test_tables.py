"""Tables and plots of a benchmark."""

from jcnn.benchmark import (
    Benchmark,
    Row,
    check_plot,
    markdown,
    print_benchmark,
    save_plot,
)
from jcnn.benchmark.rows import timed_row
from jcnn.benchmark.timing import Timing

RESULT = Benchmark(
    "tiny",
    (
        timed_row("step", {"jcnn": Timing((0.001, 0.002)), "jax.grad": Timing((0.01,))}, "a note"),
        Row("memory", "MB", {"jcnn": 1234.5, "jax.grad": 2469.0}, {"jax.grad": 2.0}),
    ),
    ("No peer.",),
)


def test_tables_hold_every_figure(capsys):
    print_benchmark(RESULT)
    printed = capsys.readouterr().out
    text = markdown(RESULT)
    for found in (printed, text):
        for part in ("1.50 (1.25–1.75)", "10.0", "6.67", "1,234", "2.00", "a note", "No peer."):
            assert part in found
        assert "torch" not in found
    (widths,) = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == 7


def test_plot_draws_a_bar_per_ratio(tmp_path):
    save_plot(RESULT, tmp_path / "ratios.svg")
    assert "jax.grad / jcnn" in (tmp_path / "ratios.svg").read_text()
    check_plot(tmp_path / "ratios.png")
