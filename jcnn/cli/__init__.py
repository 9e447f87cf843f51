"""The command line: parses, calls, prints. One file for each group of commands."""

from jcnn.cli.app import main

__all__ = ["main"]
