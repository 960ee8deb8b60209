"""What a choice is about: a fault, a latency, the order of turns, or a value of somebody's own.

The first part of a key is its site: "fault.<kind>", "latency.<what>", "order", or the label of a
`sim.choose`.
"""

from __future__ import annotations

from enum import StrEnum


class Sort(StrEnum):
    """What shrinking tells apart."""

    FAULT = "fault"
    LATENCY = "latency"
    ORDER = "order"
    VALUE = "value"


def sort_of(key: str) -> Sort:
    """What the choice of this key is about."""
    site = key.partition("/")[0].partition(".")[0]
    return Sort(site) if site in _SITES else Sort.VALUE


_SITES = frozenset({"fault", "latency", "order"})


def what_of(key: str) -> str:
    """The kind of the fault, or what the latency is of; empty for an order."""
    return key.partition("/")[0].partition(".")[2]


def whose(key: str) -> str:
    """The actor that the choice belongs to: between the site and the occurrence."""
    return key.partition("/")[2].rpartition("/")[0]
