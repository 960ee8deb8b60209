"""Override: for each state of each machine, what an operator's word leads to, or why not."""

from __future__ import annotations

from typing import Any

import pytest

from actors import breaker_state, gate_state, patch_record, run_state, task, uet_worker, worker
from actors import messages as m
from actors import workstream as ws_machine
from actors.machine import Chart
from actors.override import EVIDENCE, way

# From a state to every other, in the order of the chart: the path; `!x` where the state x on it
# needs evidence that only the work can give; `-` where no way leads there.
TABLE = """
# run
initializing: running; running paused; running completed; failed; cancelled
running: -; paused; completed; failed; cancelled
paused: -; running; running completed; failed; cancelled
# workstream
pending: ready; ready running; ready running paused; blocked; ready running validating; ready
  running validating completed; ready failed; cancelled; skipped
ready: running blocked pending; running; running paused; running blocked; running validating;
  running validating completed; failed; cancelled; skipped
running: blocked pending; blocked pending ready; paused; blocked; validating; validating
  completed; failed; cancelled; blocked skipped
paused: running blocked pending; running blocked pending ready; running; running blocked; running
  validating; running validating completed; failed; cancelled; running blocked skipped
blocked: pending; pending ready; pending ready running; pending ready running paused; pending
  ready running validating; pending ready running validating completed; failed; cancelled; skipped
validating: -; -; -; -; -; completed; failed; cancelled; -
# task
pending: queued; blocked; !running; !running; !running; !running; queued failed; cancelled
queued: blocked pending; blocked; !running; !running; !running; !running; failed; cancelled
blocked: pending; pending queued; !running; !running; !running; !running; pending queued failed;
  cancelled
running: retrying queued blocked pending; retrying queued; retrying queued blocked; validating;
  retrying; validating completed; failed; cancelled
validating: retrying queued blocked pending; retrying queued; retrying queued blocked; !running;
  retrying; completed; failed; cancelled
retrying: queued blocked pending; queued; queued blocked; !running; !running; !running; failed;
  cancelled
# worker
initializing: idle; !busy; idle paused; !busy; failed; shutdown
idle: -; !busy; paused; !busy; failed; shutdown
busy: -; idle; idle paused; unresponsive; failed; shutdown
paused: -; idle; !busy; !busy; failed; shutdown
unresponsive: -; idle; !busy; idle paused; failed; shutdown
failed: -; idle; !busy; idle paused; !busy; shutdown
# uet_worker
spawning: !idle; !idle; !idle; terminated
idle: -; !busy; !busy; terminated
busy: -; !idle; draining; terminated
draining: -; -; -; terminated
# test_gate
pending: blocked; !running; !running; !running; cancelled
blocked: pending; !running; !running; !running; cancelled
running: -; -; !passed; failed; cancelled
# circuit_breaker
closed: open; open half_open
open: half_open closed; half_open
half_open: closed; open
# patch_ledger
pending: validating; validating staged; validating staged blocked; !applied; !applied; !applied;
  validating quarantined; !applied; expired; superseded; dropped
validating: pending; staged; staged blocked; !applied; !applied; !applied; quarantined; !applied;
  staged expired; staged superseded; staged dropped
staged: quarantined validating pending; quarantined validating; blocked; !applied; !applied;
  !applied; quarantined; !applied; expired; superseded; dropped
blocked: quarantined validating pending; quarantined validating; staged; !applied; !applied;
  !applied; quarantined; !applied; expired; superseded; dropped
applied: quarantined validating pending; quarantined validating; staged; staged blocked;
  !verified; !verified; quarantined; rolled_back; staged expired; staged superseded; staged
  dropped
verified: staged quarantined validating pending; staged quarantined validating; staged; staged
  blocked; !applied; !committed; staged quarantined; rolled_back; staged expired; staged
  superseded; staged dropped
quarantined: validating pending; validating; validating staged; validating staged blocked;
  !applied; !applied; !applied; !applied; expired; validating staged superseded; dropped
"""
CHARTS: dict[str, Chart] = {
    chart.name: chart
    for chart in (
        run_state.CHART,
        ws_machine.CHART,
        task.CHART,
        worker.CHART,
        uet_worker.CHART,
        gate_state.CHART,
        breaker_state.CHART,
        patch_record.CHART,
    )
}


def pairs() -> dict[tuple[str, str, str], str]:
    found = {}
    kind = ""
    for line in TABLE.strip().replace("\n  ", " ").splitlines():
        if line.startswith("# "):
            kind = line[2:]
            continue
        source, _, cells = line.partition(": ")
        others = [state for state in CHARTS[kind].states if state != source]
        for target, cell in zip(others, cells.split("; "), strict=True):
            found[kind, source, target] = cell
    return found


PAIRS = pairs()


@pytest.mark.parametrize("kind", CHARTS)
def test_every_state_that_is_no_end_has_a_word_for_every_other(kind: str) -> None:
    chart = CHARTS[kind]
    wanted = {
        (source, target)
        for source in set(chart.states) - chart.terminal
        for target in set(chart.states) - {source}
    }
    assert {(s, t) for k, s, t in PAIRS if k == kind} == wanted


@pytest.mark.parametrize(("kind", "source", "target"), PAIRS)
def test_an_override_takes_the_shortest_way_or_says_why_not(
    kind: str, source: str, target: str
) -> None:
    found, cell = way(CHARTS[kind], source, target), PAIRS[kind, source, target]
    if cell == "-":
        assert isinstance(found, m.Refused)
        assert found.reason.startswith("no way of the chart")
    elif cell.startswith("!"):
        assert isinstance(found, m.Refused)
        assert f"and {cell[1:]} needs evidence that only the work can give" in found.reason
    else:
        assert not isinstance(found, m.Refused)
        assert [edge.target for edge in found] == cell.split()
        for edge in found:
            assert edge.target not in EVIDENCE.get(kind, ())


@pytest.mark.parametrize("kind", CHARTS)
def test_nothing_leads_out_of_an_end_not_even_what_the_chart_sanctions(kind: str) -> None:
    chart = CHARTS[kind]
    for end in chart.terminal:
        for target in chart.states:
            found = way(chart, end, target)
            assert isinstance(found, m.Refused)
            assert "already" in found.reason


def test_a_state_that_no_chart_knows_is_refused_with_those_that_are() -> None:
    found = way(task.CHART, "queued", "done")
    assert isinstance(found, m.Refused)
    assert "pending, queued, blocked" in found.reason


def test_of_two_ways_as_short_the_one_whose_edges_stand_first_is_taken() -> None:
    found: Any = way(ws_machine.CHART, "pending", "failed")
    assert [e.target for e in found] == ["ready", "failed"]  # and not by way of blocked


def test_a_breakers_edges_are_taken_by_the_trigger_that_names_a_person() -> None:
    found: Any = way(breaker_state.CHART, "closed", "half_open")
    assert {e.trigger for e in found} == {"manual_override"}
