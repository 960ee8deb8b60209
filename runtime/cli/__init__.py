"""The command line. Importing it costs click alone: each command imports what it needs."""

from runtime.cli.app import main

__all__ = ["main"]
