"""How a scenario is explored: the same names for the command, for pytest, for the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from runtime.sim import cases, seeds
from runtime.sim.faults import COMPOUND, KINDS, SWARM
from runtime.sim.seeds import PORTFOLIO, Seeds
from runtime.sim.strategies import STRATEGIES

SEEDS: Final = Seeds((range(200),))
"""Unless somebody says otherwise: a second or two of work."""

ENDLESS: Final = Seeds((range(2**53),))
"""With a budget and no seeds: until the time is up."""

_UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"", "0", "false", "no", "off"})


class BadSetting(ValueError):
    """A value that an option cannot have; its text has the cure."""


class Settings(msgspec.Struct, frozen=True):
    """What is asked of a campaign."""

    seeds: Seeds = SEEDS
    strategy: str = PORTFOLIO
    depth: int = 3
    faults: dict[str, float] | None = None
    """Instead of those of the scenario."""
    jobs: int = 1
    budget_s: float | None = None
    failures: int = 1
    """How many different bugs end the campaign."""
    shrink: bool = True
    check_determinism: bool = False
    case: Path | None = None
    """Replay this case, and nothing else."""
    folder: Path | None = Path(cases.FOLDER)
    """Where cases are kept; None: nowhere."""
    html: Path | None = None
    """Where timelines go; None: beside the failures."""
    coverage: Path | None = None
    """Where the coverage goes, as JSON."""
    command: str = "banksman simulate"
    """What a replay is typed with: this, the scenario, an option."""
    option: str = "--"
    """What an option of that command begins with."""
    target: str = ""
    """What that command calls the scenario; empty: its locator."""


def read(given: Mapping[str, Any], base: Settings) -> Settings:
    """`base` with what was typed, by option's name ("seeds", "seed", "budget", "no-shrink", ...).
    None and absent say nothing.

    Raises BadSetting, and BadSeeds for seeds.
    """
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None:
            changes.update(_READERS[name](value))
    if "budget_s" in changes and given.get("seeds") is None and given.get("seed") is None:
        changes["seeds"] = ENDLESS
    return msgspec.structs.replace(base, **changes)


def from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What BANKSMAN_SIM_SEEDS and its like say, by option's name.

    Raises BadSetting, with the variable's name, for what cannot be read.
    """
    found = {}
    for name in _READERS:
        value = environ.get(variable(name))
        if value is None:
            continue
        try:
            read({name: value}, Settings())
        except ValueError as error:  # BadSetting and BadSeeds
            raise BadSetting(f"{variable(name)}: {error}") from None
        found[name] = value
    return found


def variable(name: str) -> str:
    """The environment's name of an option."""
    return "BANKSMAN_SIM_" + name.upper().replace("-", "_")


def duration(text: str) -> float:
    """Seconds of "90s", "10m", "2h", "1d" or "30". Raises BadSetting."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if found is None:
        raise BadSetting(f"{text!r} is no length of time: say 90s, 10m, 2h or 1d")
    return float(found[1]) * _UNITS[found[2]]


def faults(text: str) -> dict[str, float]:
    """Faults as they are typed: "none", "default", or "crash=0.01,disk_full" and the like.

    Raises BadSetting.
    """
    if text.strip() in ("none", ""):
        return {}
    found: dict[str, float] = {}
    for part in text.split(","):
        kind, sign, rate = part.strip().partition("=")
        name = SWARM if kind == "default" else kind
        if name not in (SWARM, *COMPOUND, *KINDS):
            raise BadSetting(
                f"fault {kind!r}: want one of {', '.join(('default', *COMPOUND, *KINDS))}"
            )
        try:
            found[name] = float(rate) if sign else (1.0 if name == SWARM else _RATE)
        except ValueError:
            raise BadSetting(f"{part!r} is no rate: say {kind}=0.01") from None
        if not 0.0 < found[name] <= 1.0:
            raise BadSetting(f"the rate of {kind} is above 0 and at most 1, not {rate}")
    return found


_RATE: Final = 0.05  # of a fault that was named without one: some of them in most runs


def _count(name: str, value: Any) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise BadSetting(f"{name} {value!r}: want a number from 1 on")
    return number


def _strategy(text: str) -> str:
    if text not in (*STRATEGIES, PORTFOLIO):
        raise BadSetting(f"strategy {text!r}: want one of {PORTFOLIO}, {', '.join(STRATEGIES)}")
    return text


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise BadSetting(f"{value!r} is neither yes nor no: say 1 or 0")
    return word in _TRUE


_READERS: Final[dict[str, Any]] = {
    "seeds": lambda v: {"seeds": seeds.parse(str(v))},
    "seed": lambda v: {"seeds": seeds.parse(f"={v}")},
    "case": lambda v: {"case": Path(v)},
    "strategy": lambda v: {"strategy": _strategy(v)},
    "faults": lambda v: {"faults": faults(v)},
    "jobs": lambda v: {"jobs": _count("jobs", v)},
    "failures": lambda v: {"failures": _count("failures", v)},
    "budget": lambda v: {"budget_s": duration(str(v))},
    "no-shrink": lambda v: {"shrink": not _switch(v)},
    "check-determinism": lambda v: {"check_determinism": _switch(v)},
    "coverage": lambda v: {"coverage": Path(v)},
    "html": lambda v: {"html": Path(v)},
    "folder": lambda v: {"folder": Path(v)},
}
NAMES: Final = tuple(_READERS)
"""Of the options."""
