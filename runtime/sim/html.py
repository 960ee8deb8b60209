"""A recorded run as one page that needs nothing beside itself: lanes, causal arrows, details.

Everything that comes from the run reaches the page as JSON and is set as text, so no name in it can
become markup or a script; the page forbids itself to load anything from elsewhere.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.sim.case import Happening, Result
from runtime.sim.trace import clock, columns, plain

EVENTS_MAX: Final = 3_000
"""A browser draws so many without a pause; of a longer run the last ones are shown."""

_TEMPLATE: Final = Path(__file__).with_name("timeline.html")


def page(result: Result, *, steps: tuple[str, ...] = (), replay: str = "") -> str:
    """The page for a recorded run. `steps`: what it takes to make it fail, in words."""
    shown = result.happenings[-EVENTS_MAX:]
    title = f"{result.case.scenario}, seed {result.case.seed}"
    text = "\n".join(columns(msgspec.structs.replace(result, happenings=shown)))
    parts = {
        "__TITLE__": html.escape(plain(title)),
        "__PLAIN__": html.escape(text),
        "__DATA__": _as_json(_told(result, shown, title, steps, replay)),
    }
    # In one pass, so that nothing in one part is taken for the place of another.
    return re.sub("__[A-Z]+__", lambda at: parts[at[0]], _TEMPLATE.read_text(encoding="utf-8"))


def _as_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    text = msgspec.json.encode(value).decode()
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _told(
    result: Result,
    shown: tuple[Happening, ...],
    title: str,
    steps: tuple[str, ...],
    replay: str,
) -> dict[str, Any]:
    failure = result.failure
    facts = [
        ("seed", str(result.case.seed)),
        ("strategy", result.case.config.strategy),
        ("events", f"{result.events:,}"),
        ("simulated", clock(result.simulated_s)),
    ]
    if replay:
        facts.append(("replay", plain(replay)))
    verdict = "nothing is broken"
    if failure is not None:
        verdict = f"{failure.invariant} is broken at {clock(failure.at)}, event #{failure.n}"
    return {
        "title": plain(title),
        "verdict": plain(verdict),
        "invariant": failure.invariant if failure else "",
        "text": plain(failure.text) if failure else "",
        "detail": "\n".join(plain(line) for line in failure.detail) if failure else "",
        "broken": failure.n if failure else None,
        "facts": facts,
        "steps": [plain(step) for step in steps],
        "left_out": len(result.happenings) - len(shown),
        "events": [_event(happening) for happening in shown],
    }


def _event(happening: Happening) -> dict[str, Any]:
    """Every field, also those that are empty: the page asks for each."""
    told = {name: getattr(happening, name) for name in Happening.__struct_fields__}
    for name in ("actor", "what", "key", "detail"):
        told[name] = plain(told[name])
    return told
