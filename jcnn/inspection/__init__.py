"""Looking into an experiment: is each gradient right, what is it made of, how fast is it."""

from jcnn.inspection.batches import random_batch, real_batch
from jcnn.inspection.check import ModelCheck, check_model
from jcnn.inspection.check_table import print_check
from jcnn.inspection.summary import print_summary, summarize
from jcnn.proof import Report, Row, check_rule

__all__ = [
    "ModelCheck",
    "Report",
    "Row",
    "check_model",
    "check_rule",
    "print_check",
    "print_summary",
    "random_batch",
    "real_batch",
    "summarize",
]
