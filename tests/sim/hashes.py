"""Prints the trace hashes of a few cases: run by tests in other processes."""

from __future__ import annotations

from tests.sim.engine_kit import case, scenario


def hashes() -> list[str]:
    found = []
    for world in ("pipeline", "failing", "gated", "operated"):
        of = scenario(world)
        found += [f"{world} {n} {of.run(case(of, n)).trace_hash}" for n in range(1, 7)]
    return found


if __name__ == "__main__":
    print("\n".join(hashes()))
