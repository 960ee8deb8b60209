"""The eight charts: exactly the states and edges of the design, and nothing else is possible."""

from __future__ import annotations

import tomllib
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest

from actors import breaker, gate, patch, run, task, uet_worker, worker, workstream
from actors.machine import Chart, Edge, InvalidTransition, TerminalState

CHARTS = {
    module.CHART.name: module.CHART
    for module in (run, workstream, task, worker, uet_worker, gate, breaker, patch)
}
DESIGN = Path(__file__).parents[3] / "shared" / "design" / "statecharts.toml"

# A machine's states, the initial one first; its terminal states; then an edge a line. Written out a
# second time on purpose: a slip in a machine's own table must not become the law.
EXPECTED = {
    "run": """
        initializing running paused completed failed cancelled
        completed failed cancelled
        initializing running run_started info
        initializing failed run_failed error
        initializing cancelled run_cancelled warning
        running paused run_paused info
        running completed run_completed info
        running failed run_failed error
        running cancelled run_cancelled warning
        paused running run_resumed info
        paused failed run_failed error
        paused cancelled run_cancelled warning
    """,
    "workstream": """
        pending ready running paused blocked validating completed failed cancelled skipped
        completed failed cancelled skipped
        pending ready ready info
        pending blocked blocked warning
        pending skipped skipped info
        pending cancelled cancelled warning
        ready running started info
        ready skipped skipped info
        ready cancelled cancelled warning
        ready failed failed error
        running paused paused info
        running blocked blocked warning
        running validating validating info
        running failed failed error
        running cancelled cancelled warning
        paused running resumed info
        paused failed failed error
        paused cancelled cancelled warning
        blocked pending unblocked info
        blocked skipped skipped warning
        blocked failed failed error
        blocked cancelled cancelled warning
        validating completed completed info
        validating failed failed error
        validating cancelled cancelled warning
    """,
    "task": """
        pending queued blocked running validating retrying completed failed cancelled
        completed failed cancelled
        pending queued dependencies_met info
        pending blocked dependency_failed warning
        pending cancelled task_cancelled warning
        queued running worker_assigned info
        queued blocked gate_failed warning
        queued failed task_failed error
        queued cancelled task_cancelled warning
        blocked pending dependency_recovered info
        blocked cancelled task_cancelled warning
        running validating execution_complete info
        running retrying retry_scheduled warning
        running failed task_failed error
        running cancelled task_cancelled warning
        validating completed validation_passed info
        validating retrying retry_scheduled warning
        validating failed validation_failed error
        validating cancelled task_cancelled warning
        retrying queued retry_queued info
        retrying failed task_failed error
        retrying cancelled task_cancelled warning
    """,
    "worker": """
        initializing idle busy paused unresponsive failed shutdown
        shutdown
        initializing idle registered info
        initializing failed worker_failed error
        initializing shutdown shutdown info
        idle busy task_assigned info
        idle paused paused info
        idle failed worker_failed error
        idle shutdown shutdown info
        busy idle task_completed info
        busy idle assignment_returned info
        busy unresponsive heartbeat_missed warning
        busy failed worker_failed error
        busy shutdown shutdown info
        paused idle resumed info
        paused failed worker_failed error
        paused shutdown shutdown info
        unresponsive busy heartbeat_resumed warning
        unresponsive idle heartbeat_recovered warning
        unresponsive failed worker_failed error
        unresponsive failed recovery_window_exceeded error
        unresponsive shutdown shutdown info
        failed idle recovered warning
        failed shutdown shutdown info
    """,
    "uet_worker": """
        spawning idle busy draining terminated
        terminated
        spawning idle spawned info
        spawning terminated spawn_failed error
        idle busy task_assigned info
        idle terminated shutdown_requested info
        busy idle task_completed info
        busy draining shutdown_requested info
        busy terminated crashed error
        draining terminated drained info
        spawning terminated shutdown_requested info
        idle terminated crashed error
        draining terminated crashed error
    """,
    "test_gate": """
        pending blocked running passed failed cancelled
        passed failed cancelled
        pending running execution_started info
        pending blocked gate_blocked warning
        pending cancelled gate_cancelled warning
        running passed gate_passed info
        running failed gate_failed error
        running cancelled gate_cancelled warning
        blocked pending gate_unblocked info
        blocked cancelled gate_cancelled warning
    """,
    "circuit_breaker": """
        closed open half_open
        -
        closed open failure_threshold_exceeded error
        open half_open cooldown_expired warning
        half_open closed success_threshold_met info
        half_open open test_failed error
        closed open manual_override warning
        open half_open manual_override warning
        half_open closed manual_override warning
        half_open open manual_override warning
    """,
    "patch_ledger": """
        pending validating staged blocked applied verified \
            committed quarantined rolled_back expired superseded dropped
        committed rolled_back expired superseded dropped
        pending validating validation_started info
        pending expired patch_expired warning
        pending superseded patch_superseded info
        pending dropped patch_dropped warning
        validating staged validation_passed info
        validating quarantined patch_quarantined error
        validating pending validation_interrupted warning
        staged applied patch_applied info
        staged blocked patch_blocked warning
        staged quarantined patch_quarantined error
        staged expired patch_expired warning
        staged superseded patch_superseded info
        staged dropped patch_dropped warning
        blocked staged patch_unblocked info
        blocked quarantined patch_quarantined error
        blocked expired patch_expired warning
        blocked superseded patch_superseded info
        blocked dropped patch_dropped warning
        applied verified patch_verified info
        applied staged patch_restaged warning
        applied quarantined patch_quarantined error
        applied rolled_back patch_rolled_back error
        verified committed patch_committed info
        verified staged patch_restaged warning
        verified rolled_back patch_rolled_back error
        committed rolled_back patch_rolled_back critical
        quarantined validating validation_started warning
        quarantined expired patch_expired warning
        quarantined dropped patch_dropped warning
    """,
}


class Expected(NamedTuple):
    states: tuple[str, ...]
    initial: str
    terminal: frozenset[str]
    edges: tuple[Edge, ...]


def expected(name: str) -> Expected:
    states, terminal, *edges = EXPECTED[name].split("\n")[1:-1]
    named = tuple(states.split())
    return Expected(
        named,
        named[0],
        frozenset(terminal.split()) - {"-"},
        tuple(Edge(*line.split()) for line in edges),
    )


def designed(name: str) -> Expected:
    chart = tomllib.loads(DESIGN.read_text(encoding="utf-8"))[name]
    return Expected(
        tuple(s.lower() for s in chart["states"]),
        chart["initial"].lower(),
        frozenset(s.lower() for s in chart["terminal"]),
        tuple(Edge(a.lower(), b.lower(), t, s) for a, b, t, s in chart["edges"]),
    )


def compiled(name: str) -> Expected:
    chart = CHARTS[name]
    return Expected(chart.states, chart.initial, chart.terminal, chart.edges)


by_name = pytest.mark.parametrize("name", EXPECTED)
by_edge = pytest.mark.parametrize(
    ("chart", "edge"),
    [
        pytest.param(chart, edge, id=f"{name}:{edge.source}-{edge.trigger}-{edge.target}")
        for name, chart in CHARTS.items()
        for edge in chart.edges
    ],
)
by_state = pytest.mark.parametrize(
    ("chart", "source"),
    [
        pytest.param(chart, state, id=f"{name}:{state}")
        for name, chart in CHARTS.items()
        for state in chart.states
    ],
)


# --- the tables ---------------------------------------------------------------------------------


@by_name
def test_a_machine_has_exactly_the_states_and_edges_that_are_expected_of_it(name: str) -> None:
    assert compiled(name) == expected(name)


@by_name
def test_what_is_expected_is_what_the_design_says(name: str) -> None:
    if not DESIGN.exists():
        print(reason := f"skipped: the design's own table is not beside this tree ({DESIGN.name})")
        pytest.skip(reason)
    assert expected(name) == designed(name)


def test_the_eight_machines_have_58_states_and_122_edges() -> None:
    pairs = {(n, e.source, e.target) for n, chart in CHARTS.items() for e in chart.edges}
    rows = [e for chart in CHARTS.values() for e in chart.edges]
    assert len(CHARTS) == 8
    assert sum(len(chart.states) for chart in CHARTS.values()) == 58
    # Nine of the edges have a second row, for a second trigger.
    assert (len(pairs), len(rows)) == (122, 131)


def test_the_only_edge_out_of_a_terminal_state_is_the_rollback_of_a_committed_patch() -> None:
    out = [
        (n, e.source, e.target)
        for n, c in CHARTS.items()
        for e in c.edges
        if e.source in c.terminal
    ]
    assert out == [("patch_ledger", "committed", "rolled_back")]


@by_name
def test_from_every_state_that_is_not_terminal_an_end_can_be_reached(name: str) -> None:
    chart = CHARTS[name]
    reaches = set(chart.terminal) or {chart.initial}
    while more := {e.source for e in chart.edges if e.target in reaches} - reaches:
        reaches |= more
    assert reaches == set(chart.states)


# --- what the compiled chart lets pass ------------------------------------------------------------


@by_edge
def test_a_legal_edge_is_taken_with_its_severity(chart: Chart, edge: Edge) -> None:
    taken = chart.take(edge.source, edge.target, edge.trigger, reason="because", operator="ann")
    assert (taken.source, taken.target, taken.trigger) == (edge.source, edge.target, edge.trigger)
    assert (taken.severity, taken.reason, taken.operator) == (edge.severity, "because", "ann")


@by_state
def test_every_edge_that_is_not_in_the_chart_raises_and_names_itself(
    chart: Chart, source: str
) -> None:
    legal = {(e.source, e.target, e.trigger) for e in chart.edges}
    triggers = {e.trigger for e in chart.edges} | {"no_such_trigger"}
    wrong = TerminalState if source in chart.terminal else InvalidTransition
    tried = 0
    for target, trigger in product((*chart.states, "no_such_state"), triggers):
        if (source, target, trigger) in legal:
            continue
        with pytest.raises(InvalidTransition) as raised:
            chart.take(source, target, trigger)
        error = raised.value
        assert type(error) is wrong
        assert (error.machine, error.source, error.target, error.trigger) == (
            chart.name,
            source,
            target,
            trigger,
        )
        tried += 1
    leaving = sum(e.source == source for e in chart.edges)
    assert tried == (len(chart.states) + 1) * len(triggers) - leaving


@by_name
def test_a_state_to_itself_is_no_edge(name: str) -> None:
    assert not [e for e in CHARTS[name].edges if e.source == e.target]


def test_a_trigger_of_another_machine_moves_nothing() -> None:
    with pytest.raises(InvalidTransition):
        CHARTS["task"].take("pending", "queued", "ready")


def test_a_taker_may_raise_the_severity_of_an_edge() -> None:
    taken = CHARTS["workstream"].take("running", "failed", "failed", severity="critical")
    assert taken.severity == "critical"
