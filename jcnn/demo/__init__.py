"""A local page on which one draws, or speaks, and watches what a run's network makes of it."""

from jcnn.demo.app import make_app
from jcnn.demo.drawing import Drawer, centred
from jcnn.demo.network import Subject
from jcnn.demo.recording import Listener, trimmed
from jcnn.demo.server import serve, subject

__all__ = ["Drawer", "Listener", "Subject", "centred", "make_app", "serve", "subject", "trimmed"]
