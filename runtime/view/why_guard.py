"""Why a gate or a breaker stands as it does, and what would move it."""

from __future__ import annotations

import sqlite3

from runtime.view import guards
from runtime.view.because import Explanation
from runtime.view.guards import BreakerRow
from runtime.view.standing import Standing, at_address, hand, trouble
from runtime.view.told import instant, length

_SHOWN_MAX = 5


def gate(db: sqlite3.Connection, found: Standing, now: float) -> Explanation:
    """The explanation of a gate in any state."""
    if found.completed_at is not None:
        return _verdict(db, found)
    if found.state == "running":
        return _running(db, found)
    said = Explanation("it waits")
    value = found.value
    if value.get("asked_at"):
        said.summary = "it waits for a person's word"
        said.because(f"asked for {length(now - value['asked_at'])} ago")
        said.move(f"banksman approve {found.id}", "lets it pass")
        said.move(f"banksman reject {found.id}", "lets it fail")
        return said
    if not value.get("needed", True):
        said.because("nothing that needs its verdict is ready to start yet")
    for address in found.spec.get("sources", ()):
        not_passed(db, said, address, now)
    # Behind a breaker that is shut it waits without a place, asked or not.
    if value.get("queued") and not kept_back(db, said, found.spec.get("breaker"), now):
        said.because("every place for a gate's command is taken")
    if found.state == "blocked" and not said.causes and found.reason:
        said.because(found.reason)
    if (who := hand(db, found, "override")) is not None and found.state == "blocked":
        said.because(f"blocked by {who.operator}", who.reason)
        said.move(f"banksman override {found.id} pending --reason TEXT", "lets it go on")
    said.move(f"banksman cancel {found.id}", "gives up on it")
    return said


def _verdict(db: sqlite3.Connection, found: Standing) -> Explanation:
    code, check = found.row["exit_code"], found.value.get("check") or {}
    said = Explanation(
        f"its verdict: {found.state}" + ("" if code is None else f", exit code {code}")
    )
    if found.value.get("verdict") == "infrastructure" or found.reason == "infrastructure":
        said.summary = "it has no verdict: the machine failed it, again and again"
        said.because(trouble(db, found) or found.reason or "what it met is not on record")
    elif found.reason:
        said.because(found.reason)
    if reused := check.get("reused_from"):
        said.because(f"nothing had changed since {reused}, so its verdict is that one's")
    elif check.get("tests") is not None:
        said.because(f"{check['judged_by']} executed {check['tests']} tests")
    if after := found.value.get("replaced_by"):
        said.because(f"it was run again as {after}", None, after)
    elif found.state == "failed":
        said.move(f"banksman gate rerun {found.id}", "runs it again; what it blocks goes on then")
    if found.state == "failed":
        said.move(f"banksman logs {found.id}", "what it printed")
    return said


def _running(db: sqlite3.Connection, found: Standing) -> Explanation:
    said = Explanation("its command runs")
    if found.value.get("waiting"):
        said = Explanation("its last try met trouble of the machine: it tries again")
        said.because(trouble(db, found) or "what it met is not on record")
    if found.value.get("wanted"):
        said.because("it is being ended: its command is not proven dead yet")
    said.move(f"banksman logs -f {found.id}", "what it prints")
    return said


def not_passed(db: sqlite3.Connection, said: Explanation, address: str, now: float) -> None:
    """A gate that is waited for, and the very command where a person has to type one."""
    found = at_address(db, address if ":" in address[:10] else f"test_gate:{address}")
    if found is None or found.done:
        return
    said.because(
        f"{found.kind.replace('_', ' ')} {found.id} is {found.state} for"
        f" {length(now - found.since)}",
        found.reason,
        found.id,
    )
    if found.value.get("asked_at") and found.completed_at is None:
        said.move(f"banksman approve {found.id}", "lets it pass: it waits for a person")
    elif found.kind == "test_gate" and found.state == "failed":
        said.move(f"banksman gate rerun {found.id}", "runs it again")
    said.move(f"banksman why {found.id}", "looks one step deeper")


def kept_back(
    db: sqlite3.Connection, said: Explanation, breaker_id: str | None, now: float
) -> bool:
    """Whether a breaker keeps back what waits for its tool; if so, says how long and why."""
    found = guards.breakers(db, [breaker_id]) if breaker_id else []
    if not found or found[0].state == "closed" or found[0].mode == "shadow":
        return False
    row = found[0]
    said.because(f"its tool {row.tool} is shut: {shut(row, now)}", row.reason, row.id)
    said.move(f"banksman why {row.id}", "looks one step deeper")
    _ways_to_open(said, row)
    return True


def breaker(db: sqlite3.Connection, found: Standing, now: float) -> Explanation:
    """The explanation of a breaker in any state."""
    row = guards.breakers(db, [found.id])[0]
    said = Explanation(_SUMMARY[row.state].format(tool=row.tool))
    if row.mode == "shadow":
        said.summary = f"it is a shadow: it lets {row.tool} be called, and records what it would do"
    elif row.mode == "disabled":
        said.summary = f"it is disabled: it lets {row.tool} be called, and counts nothing"
    if row.state != "closed":
        said.because(shut(row, now), row.reason)
    elif row.ramp is not None:
        calls = "1 call" if row.ramp == 1 else f"{row.ramp} calls"
        said.because(f"after its close it lets {calls} through at a time, then more")
    if (who := hand(db, found, "overrid")) is not None and who.reason == row.reason:
        said.because(f"by the hand of {who.operator}, {length(now - who.at)} ago", who.reason)
    if row.openings > 1:
        said.because(f"it opened {row.openings} times in a row: each cooldown is longer")
    if row.parked:
        waiting = guards.parked(db, row.id, _SHOWN_MAX)
        some = (*waiting, *guards.parked_gates(db, row.id, _SHOWN_MAX - len(waiting)))
        more = f" and {row.parked - len(some)} more" if row.parked > len(some) else ""
        what = "is" if row.parked == 1 else "are"
        said.because(f"{row.parked} {what} parked behind it: {', '.join(some)}{more}")
    if row.state != "closed" or row.mode != "auto":
        _ways_to_open(said, row)
    else:
        said.move(f"banksman breaker hold {row.id} --reason TEXT", "keeps work away from the tool")
    said.move(f"banksman history {row.id}", "how it came to this")
    return said


_SUMMARY = {
    "closed": "it lets work through to {tool}",
    "open": "it keeps work away from {tool}",
    "half_open": "it lets one call at a time through to {tool}, to see whether that works again",
}


def shut(row: BreakerRow, now: float) -> str:
    """How long it stays shut, and what ends that."""
    if row.state == "half_open":
        if row.probe is None:
            return f"breaker {row.id} is half open: the next call is its probe"
        until = f", for {length(row.probe_until - now)} at most" if row.probe_until else ""
        return f"breaker {row.id} is half open: its probe is out with {row.probe}{until}"
    if row.mode == "held":
        return f"breaker {row.id} is held open until somebody says otherwise"
    if row.due is None or row.due <= now:
        return f"breaker {row.id} is open, and its cooldown is over: the next call is a probe"
    return (
        f"breaker {row.id} is open until {instant(row.due)} (in {length(row.due - now)}),"
        " then one call probes"
    )


def _ways_to_open(said: Explanation, row: BreakerRow) -> None:
    if row.health:
        asks = f"asks the tool ({' '.join(row.health)}), and closes it if that passes"
        said.move(f"banksman breaker reset {row.id} --reason TEXT", asks)
    said.move(f"banksman breaker close {row.id} --reason TEXT", "lets work through, unasked")
