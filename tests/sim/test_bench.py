"""The bench of the simulation gives every figure that it names."""

from __future__ import annotations

from runtime.bench import simulated


def test_every_figure_is_measured() -> None:
    figures = simulated.measure(seconds=0.1)
    assert set(figures) == set(simulated.FIGURES)
    assert all(value > 0 for value in figures.values())
