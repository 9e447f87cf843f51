"""Benchmarks: explicit rules against ``jax.grad`` of the reference, and against PyTorch."""

from jcnn.benchmark.operations import bench_operations
from jcnn.benchmark.plan import plan, print_plan, winograd_allowed
from jcnn.benchmark.plot import check_plot, save_plot
from jcnn.benchmark.rows import Benchmark, Row
from jcnn.benchmark.shapes import Case, choose_cases
from jcnn.benchmark.steps import bench_step
from jcnn.benchmark.tables import markdown, print_benchmark
from jcnn.benchmark.timing import Effort

__all__ = [
    "Benchmark",
    "Case",
    "Effort",
    "Row",
    "bench_operations",
    "bench_step",
    "check_plot",
    "choose_cases",
    "markdown",
    "plan",
    "print_benchmark",
    "print_plan",
    "save_plot",
    "winograd_allowed",
]
