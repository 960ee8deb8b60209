"""Hostile and honest patches with the verdict that each is owed: what `selftest patches` tries."""

from runtime.ledger.corpus import content, effects, honest, paths, texts
from runtime.ledger.corpus.kit import FIXTURE, Case

CASES: tuple[Case, ...] = (
    *honest.CASES,
    *paths.CASES,
    *texts.CASES,
    *effects.CASES,
    *content.CASES,
)

__all__ = ["CASES", "FIXTURE", "Case"]
