"""Is a gradient rule right? Evidence of three kinds, each said for what it is."""

from jcnn.proof.comparison import Report, Row
from jcnn.proof.exact import Difference, ExactRow, check_exact
from jcnn.proof.multilinear import NotLinearError
from jcnn.proof.recording import Call
from jcnn.proof.rules import check_rule
from jcnn.proof.whole_numbers import TooLargeError

__all__ = [
    "Call",
    "Difference",
    "ExactRow",
    "NotLinearError",
    "Report",
    "Row",
    "TooLargeError",
    "check_exact",
    "check_rule",
]
