"""The operator's hand from a second terminal, through the owner and in its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import Going, banksman

PLAN = f"""
[run]
name = "hand"

[workers.local]
count = 2

[tools.flaky]
command = [{sys.executable!r}, "-c", "raise SystemExit('broken pipe')"]
health = [{sys.executable!r}, "health.py"]
breaker = {{ failure_threshold = 1, cooldown_s = 200 }}

[tools.mute]
command = ["true"]

[gates.ok]
approval = true

[gates.unit]
command = ["false"]

[workstreams.a.tasks.guarded]
command = ["true"]
gates = ["ok"]
critical = false

[workstreams.a.tasks.long]
command = ["sleep", "600"]
critical = false

[workstreams.b.tasks.breaks]
tool = "flaky"
critical = false

[workstreams.b.tasks.parked]
tool = "flaky"
depends_on = ["quiet"]
critical = false

[workstreams.b.tasks.quiet]
tool = "mute"

[workstreams.c.tasks.blocked]
command = ["true"]
gates = ["unit"]
"""


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Path]:
    """A folder whose run waits for a person, for a tool, and for a task that sleeps."""
    (tmp_path / "plan.toml").write_text(PLAN)
    with Going("run", "plan.toml", cwd=tmp_path) as going:
        for said in ("closed -> open", "-> blocked", "b/parked  pending -> queued"):
            if said not in going.said:
                going.until(said)
        yield tmp_path


def test_approval_override_and_the_breakers_verbs_go_through_the_owner(owned: Path) -> None:
    approved = banksman("approve", "ok", "--reason", "seen it", "--json", cwd=owned)
    assert (approved.code, approved.json["text"]) == (0, "approved")
    again = banksman("reject", "gate:ok", cwd=owned)
    assert again.code == 5
    assert "approved" in again.err

    shown = owned / "seen.txt"
    shown.write_text("it had done all it should\n")
    said = ("--reason", "it hangs at its end", "--verify-output", "seen.txt")
    went = banksman("override", "long", "completed", *said, cwd=owned)
    assert (went.code, "proven dead" in went.out) == (0, True)
    history = banksman("history", "long", cwd=owned).out
    assert "manual_override" in history
    assert "it had done all it should" in history
    kept = list((owned / ".state" / "output").glob("*override*"))
    assert [file.read_text() for file in kept] == ["it had done all it should\n"]

    refused = banksman("override", "parked", "running", "--reason", "now", cwd=owned)
    assert refused.code == 5
    assert "needs evidence that only the work can give" in refused.err

    assert re.search(r"due \d\d:\d\d:\d\d", banksman("history", "flaky", cwd=owned).out)
    held = banksman("breaker", "hold", "flaky", "--reason", "it is being mended", cwd=owned)
    assert (held.code, "open (held)" in held.out) == (0, True)
    counted = {
        row["event_type"]: row["count"]
        for row in banksman("stats", "overrides", "--json", cwd=owned).json
    }
    assert counted == {"gate_approved": 1, "manual_override": 1, "breaker_overridden": 1}


def test_a_breaker_is_reset_once_its_tool_says_that_it_is_well(owned: Path) -> None:
    ill = "print('no such licence'); raise SystemExit(3)"
    (owned / "health.py").write_text(ill)
    refused = banksman("breaker", "reset", "flaky", "--reason", "try", cwd=owned)
    assert refused.code == 5
    assert "exit code 3" in refused.err
    assert "no such licence" in refused.err
    (owned / "health.py").write_text("print('flaky 1.2')")
    reset = banksman("breaker", "reset", "flaky", "--reason", "renewed", cwd=owned)
    assert (reset.code, "closed" in reset.out) == (0, True)
    assert "flaky 1.2" in banksman("history", "flaky", cwd=owned).out
    dumb = banksman("breaker", "reset", "mute", "--reason", "x", cwd=owned)
    assert dumb.code == 5
    assert "no health command" in dumb.err
    assert "`breaker close`" in dumb.err


def test_why_names_the_very_command_and_stuck_what_is_past_its_time(owned: Path) -> None:
    run = banksman("status", "--json", cwd=owned).json["runs"][0]["id"]
    guarded = banksman("why", "guarded", cwd=owned).out
    assert f"banksman approve {run}/gate:ok~1" in guarded
    parked = banksman("why", "parked", "--json", cwd=owned).json
    assert "its tool flaky is shut" in parked["causes"][0]["text"]
    assert any("breaker reset flaky-" in move["command"] for move in parked["moves"])
    tool = banksman("why", "flaky", cwd=owned).out
    assert "1 is parked behind it: " in tool
    blocked = banksman("why", "gate:unit", cwd=owned).out
    assert f"banksman gate rerun {run}/gate:unit~1" in blocked
    listed = banksman("breakers", "--json", cwd=owned).json
    assert (listed[0]["tool"], listed[0]["state"], listed[0]["parked"]) == ("flaky", "open", 1)
    assert banksman("stuck", cwd=owned).out == "nothing is past its expected time\n"
    status = banksman("status", cwd=owned).out
    assert "gate ok waits for you" in status
    assert "breaker flaky open" in status


def test_slots_are_drained_replaced_paused_and_resumed(owned: Path) -> None:
    busy = banksman("workers", "--json", cwd=owned).json
    idle = next(w["id"] for w in busy if w["state"] == "idle")
    assert banksman("worker", "pause", idle, cwd=owned).code == 0
    assert banksman("worker", "resume", idle, cwd=owned).code == 0
    assert banksman("worker", "replace", idle, cwd=owned).code == 0
    assert banksman("worker", "drain", idle, "--json", cwd=owned).json["text"] == "shut down"
    assert banksman("worker", "drain", idle, cwd=owned).code == 5


def test_a_command_that_bends_a_rule_wants_a_reason(owned: Path) -> None:
    for command in (("override", "long", "failed"), ("breaker", "open", "flaky")):
        without = banksman(*command, cwd=owned)
        assert without.code == 2
        assert "--reason" in without.err


@pytest.mark.parametrize(
    "command",
    [
        ("gate", "rerun", "unit"),
        ("approve", "ok"),
        ("override", "parked", "cancelled", "--reason", "x"),
        ("worker", "pause", "worker:local.1"),
        ("breaker", "close", "flaky", "--reason", "x"),
        ("retry", "breaks"),
    ],
)
def test_a_stale_version_is_refused_whichever_way_the_command_takes(
    owned: Path, command: tuple[str, ...]
) -> None:
    answer = banksman(*command, "--if-version", "999", cwd=owned)
    assert answer.code == 5
    assert "not 999" in answer.err


def test_without_an_owner_the_same_commands_take_its_place(tmp_path: Path) -> None:
    plan = '[run]\nname = "p"\n[gates.ok]\napproval = true\n[gates.no]\napproval = true\n'
    plan += '[workstreams.a.tasks.x]\ncommand = ["true"]\ngates = ["ok"]\n'
    plan += '[workstreams.a.tasks.y]\ncommand = ["true"]\ngates = ["no"]\n'
    (tmp_path / "plan.toml").write_text(plan)
    assert banksman("run", "plan.toml", cwd=tmp_path).code == 7
    shown = tmp_path / "log"
    shown.write_bytes(b"x" * 200_000)
    assert banksman("approve", "ok", cwd=tmp_path).code == 0
    said = ("--reason", "not today", "--verify-output", str(shown))
    assert banksman("override", "y", "cancelled", *said, cwd=tmp_path).code == 0
    (kept,) = (tmp_path / ".state" / "output").glob("*override*")
    assert b"bytes are left out here" in kept.read_bytes()
    assert banksman("resume", cwd=tmp_path).code == 0
    assert banksman("verify", cwd=tmp_path).code == 0
