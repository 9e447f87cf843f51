"""Benchmarks: explicit rules against ``jax.grad`` of the reference, and against PyTorch."""

from jcnn.inspection.benchmark.operations import bench_operations
from jcnn.inspection.benchmark.plan import filtering, plan, print_plan
from jcnn.inspection.benchmark.plot import check_plot, save_plot
from jcnn.inspection.benchmark.rows import Benchmark, Row
from jcnn.inspection.benchmark.shapes import Case, choose_cases
from jcnn.inspection.benchmark.steps import bench_step
from jcnn.inspection.benchmark.tables import markdown, print_benchmark
from jcnn.inspection.benchmark.timing import Effort

__all__ = [
    "Benchmark",
    "Case",
    "Effort",
    "Row",
    "bench_operations",
    "bench_step",
    "check_plot",
    "choose_cases",
    "filtering",
    "markdown",
    "plan",
    "print_benchmark",
    "print_plan",
    "save_plot",
]
