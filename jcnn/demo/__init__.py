"""A local page on which one draws, and watches what a run's network makes of it."""

from jcnn.demo.app import make_app
from jcnn.demo.drawing import Drawer, centred
from jcnn.demo.server import serve

__all__ = ["Drawer", "centred", "make_app", "serve"]
