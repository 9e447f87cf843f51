"""A run's folder: what it holds, that it is whole, and whether an experiment continues it."""

from jcnn.runs.run import Run, unused_folder

__all__ = ["Run", "unused_folder"]
