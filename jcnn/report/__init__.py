"""A run as a page to look at, with its backward pass, and runs beside each other."""

from jcnn.report.comparison import compare
from jcnn.report.comparison_views import comparison_page, print_comparison
from jcnn.report.explanations import attribution, explain
from jcnn.report.page import write_report
from jcnn.report.passes import Passage, passages
from jcnn.report.terms import Terms, kernel_terms

__all__ = [
    "Passage",
    "Terms",
    "attribution",
    "compare",
    "comparison_page",
    "explain",
    "kernel_terms",
    "passages",
    "print_comparison",
    "write_report",
]
