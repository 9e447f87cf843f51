"""Correlations and max pools in compiled loops: an extra that the system's compiler builds.

XLA runs the patches, the transforms and the products of a correlation one after another, through
memory. Here a block stays in a core's cache from the input to the output; the formulas, and the
matrices of minimal filtering, are those of :mod:`jcnn.lowering`. ``jcnn native`` builds the library
once for a machine; from then on its loops are lowerings among others, chosen where they cost least.
Without it nothing is missing but the time.

JCNN_NATIVE=0 leaves it out, :func:`jcnn.lowering.allow_native` within a program. Programs that use
it run on this machine alone: ``jcnn export`` leaves it out.
"""

from jcnn.lowering.native.building import build, library_path
from jcnn.lowering.native.library import ready, rounds

__all__ = ["build", "library_path", "ready", "rounds"]
