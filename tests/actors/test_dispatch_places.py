"""Places for gate commands, and the breakers of gates: who waits, who comes forward."""

from __future__ import annotations

from actors import messages as m
from actors.dispatch import Dispatch
from actors.effects import Effect, Send

TOOL = "gate.unit-1"


def queue(gate: str, tool: str | None = TOOL, *, running: bool = False) -> m.GateQueue:
    return m.GateQueue(gate, "r", running, tool)


def admitted(effects: tuple[Effect, ...]) -> list[str]:
    assert all(isinstance(e, Send) and e.message == m.GateAdmitted() for e in effects)
    return [e.to for e in effects if isinstance(e, Send)]


def shut(places: int = 2, allowed: int | None = 0, epoch: int = 1) -> Dispatch:
    dispatch = Dispatch(1, places)
    dispatch.decide(m.ToolAllowance(TOOL, allowed, epoch), 0.0)
    return dispatch


def test_a_gate_behind_a_breaker_that_is_shut_takes_no_place_from_others() -> None:
    dispatch = shut(places=1)
    assert dispatch.decide(queue("g0"), 0.0) == ()
    assert admitted(dispatch.decide(queue("lint", None), 0.0)) == ["lint"]


def test_a_breaker_that_tries_again_lets_one_gate_through_the_first_that_came() -> None:
    dispatch = shut()
    for gate in ("g0", "g1"):
        dispatch.decide(queue(gate), 0.0)
    assert admitted(dispatch.decide(m.ToolAllowance(TOOL, 1, 2), 0.0)) == ["g0"]


def test_behind_a_ramp_the_next_gate_goes_when_one_has_ended() -> None:
    dispatch = shut(places=4)
    for gate in ("g0", "g1", "g2"):
        dispatch.decide(queue(gate), 0.0)
    assert admitted(dispatch.decide(m.ToolAllowance(TOOL, 2, 2), 0.0)) == ["g0", "g1"]
    assert admitted(dispatch.decide(m.GateDone("g0"), 0.0)) == ["g2"]


def test_a_closed_breaker_lets_all_through_that_find_a_place() -> None:
    dispatch = shut(places=2)
    for gate in ("g0", "g1", "g2"):
        dispatch.decide(queue(gate), 0.0)
    assert admitted(dispatch.decide(m.ToolAllowance(TOOL, None, 3), 0.0)) == ["g0", "g1"]
    assert admitted(dispatch.decide(m.GateDone("g1"), 0.0)) == ["g2"]


def test_a_gate_that_is_cancelled_behind_a_breaker_does_not_come_forward() -> None:
    dispatch = shut()
    dispatch.decide(queue("g0"), 0.0)
    dispatch.decide(queue("g1"), 0.0)
    dispatch.decide(m.GateDone("g0"), 0.0)
    assert admitted(dispatch.decide(m.ToolAllowance(TOOL, 1, 2), 0.0)) == ["g1"]


def test_a_refused_gate_that_asks_again_waits_behind_its_breaker() -> None:
    dispatch = shut(allowed=1)
    assert admitted(dispatch.decide(queue("g0"), 0.0)) == ["g0"]
    dispatch.decide(m.ToolAllowance(TOOL, 0, 1), 0.0)
    assert dispatch.decide(m.GateDone("g0"), 0.0) == ()
    assert dispatch.decide(queue("g0"), 0.0) == ()
    assert dispatch.decide(queue("g0"), 0.0) == ()
    assert admitted(dispatch.decide(m.ToolAllowance(TOOL, 1, 2), 0.0)) == ["g0"]


def test_a_gate_that_runs_counts_at_a_new_dispatcher() -> None:
    dispatch = shut(places=4, allowed=1)
    dispatch.decide(queue("g0", running=True), 0.0)
    assert dispatch.decide(queue("g1"), 0.0) == ()
    assert admitted(dispatch.decide(m.GateDone("g0"), 0.0)) == ["g1"]


def test_a_paused_run_keeps_its_gates_also_behind_a_breaker() -> None:
    dispatch = shut()
    dispatch.decide(queue("g0"), 0.0)
    dispatch.decide(m.HoldRun("r", held=True), 0.0)
    assert dispatch.decide(m.ToolAllowance(TOOL, None, 2), 0.0) == ()
    assert admitted(dispatch.decide(m.HoldRun("r", held=False), 0.0)) == ["g0"]


def test_nothing_of_a_breaker_without_a_bound_is_kept() -> None:
    dispatch = shut()
    dispatch.decide(queue("g0"), 0.0)
    dispatch.decide(m.ToolAllowance(TOOL, 1, 2), 0.0)
    dispatch.decide(m.ToolAllowance(TOOL, None, 3), 0.0)
    dispatch.decide(m.GateDone("g0"), 0.0)
    assert dispatch._limits == {}
