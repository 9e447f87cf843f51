"""Benchmarks: explicit rules against ``jax.grad`` of the reference, and against PyTorch."""

from jcnn.benchmark.operations import bench_operations
from jcnn.benchmark.plan import plan, print_plan, problems_of, problems_of_cases, winograd_allowed
from jcnn.benchmark.plot import check_plot, save_plot
from jcnn.benchmark.problems import drawn, drawn_pools
from jcnn.benchmark.rows import Benchmark, Row
from jcnn.benchmark.shapes import Case, choose_cases
from jcnn.benchmark.steps import bench_step
from jcnn.benchmark.tables import markdown, print_benchmark
from jcnn.benchmark.timing import Effort
from jcnn.benchmark.tuning import (
    NEAR,
    Judged,
    blank,
    crossed,
    fitted,
    judged,
    measured,
    share_near,
    write_table,
)

__all__ = [
    "NEAR",
    "Benchmark",
    "Case",
    "Effort",
    "Judged",
    "Row",
    "bench_operations",
    "bench_step",
    "blank",
    "check_plot",
    "choose_cases",
    "crossed",
    "drawn",
    "drawn_pools",
    "fitted",
    "judged",
    "markdown",
    "measured",
    "plan",
    "print_benchmark",
    "print_plan",
    "problems_of",
    "problems_of_cases",
    "save_plot",
    "share_near",
    "winograd_allowed",
    "write_table",
]
