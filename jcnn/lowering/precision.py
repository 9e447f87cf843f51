"""What a lowering of sums is of half precision: see :mod:`jcnn.precision`."""

from jcnn.precision import in_float32 as summed_in_float32

__all__ = ["summed_in_float32"]
