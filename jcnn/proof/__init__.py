"""Is a gradient rule right? Evidence of three kinds, each said for what it is."""

from jcnn.proof.comparison import Report, Row
from jcnn.proof.rules import check_rule

__all__ = ["Report", "Row", "check_rule"]
