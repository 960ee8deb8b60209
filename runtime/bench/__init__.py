"""`banksman bench`: what this machine's disk allows, and how much of it the runtime reaches."""

from runtime.bench.program import FIGURES, measure

__all__ = ["FIGURES", "measure"]
