"""Prints the score card: `python -m tests.actors.breaker_kit`, with `-v` case by case."""

from __future__ import annotations

import sys

from tests.actors.breaker_kit import score


def main() -> None:
    scores = score.all_scores()
    print("\n".join(score.card(scores)))
    for one in scores:
        if one.failed:
            print(f"\n{one.name} fails:")
            print("\n".join(f"  {n:2} {score.sentence(n)}" for n in one.failed))
        if one.absent and "-v" in sys.argv[1:]:
            print(f"\n{one.name} does not have:")
            print("\n".join(f"  {n:2} {what}" for n, what in one.absent.items()))


if __name__ == "__main__":
    main()
