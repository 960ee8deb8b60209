"""Which events somebody wants to see: the same choice over the database and over a live stream."""

from __future__ import annotations

from typing import Any

import msgspec

SEVERITIES = ("debug", "info", "warning", "error", "critical")


class EventFilter(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Every field that is given must hold.

    `entity` takes what lies below it too; `type` is an event type or the type of an entity;
    `severity` is the least that is shown; `since` is in seconds since the Unix epoch.
    """

    run: str | None = None
    entity: str | None = None
    type: str | None = None
    severity: str | None = None
    operator: str | None = None
    since: float | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The choice as a condition over state_transitions, and its values."""
        parts: list[tuple[str, list[Any]]] = []
        if self.run is not None:
            parts.append(("run_id = ?", [self.run]))
        if self.entity is not None:
            below = self.entity + "/"
            # A range, not LIKE: an id may hold "_", and a range can use the index.
            after = self.entity + "0"
            parts.append(
                (
                    "(entity_id = ? OR (entity_id >= ? AND entity_id < ?))",
                    [self.entity, below, after],
                )
            )
        if self.type is not None:
            parts.append(("(event_type = ? OR entity_type = ?)", [self.type, self.type]))
        if self.severity is not None:
            shown = SEVERITIES[SEVERITIES.index(self.severity) :]
            parts.append((f"severity IN ({', '.join('?' * len(shown))})", list(shown)))
        if self.operator is not None:
            parts.append(("operator = ?", [self.operator]))
        if self.since is not None:
            parts.append(("transitioned_at >= ?", [self.since]))
        condition = " AND ".join(text for text, _ in parts) or "1"
        return condition, [value for _, values in parts for value in values]

    def matches(self, event: dict[str, Any]) -> bool:
        """Whether a live event is wanted. `since` is about the past: it holds for all of them."""
        entity = event["entity_id"]
        return (
            (self.run is None or event["context"].get("run_id") == self.run)
            and (self.entity is None or entity == self.entity or _below(entity, self.entity))
            and (self.type is None or self.type in (event["event_type"], event["entity_type"]))
            and (self.severity is None or _at_least(event["severity"], self.severity))
            and (self.operator is None or event["operator"] == self.operator)
        )


def _below(entity: str, root: str) -> bool:
    return entity.startswith(root + "/")


def _at_least(severity: str, least: str) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
