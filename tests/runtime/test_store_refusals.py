"""What the database refuses by itself, from a plain sqlite3 connection: forged and broken rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from actors.machine import Chart
from runtime.kinds import KINDS
from tests.runtime.store_kit import empty_database, without_refusals

OWN: dict[str, dict[str, Any]] = {
    "runs": {"name": "nightly"},
    "workstreams": {},
    "tasks": {"workstream_id": "r/w", "retry_count": 0, "max_retries": 3},
    "workers": {"pool": "local", "kind": "process"},
    "uet_workers": {"worker_id": "worker:local.1"},
    "test_gates": {"name": "unit", "subject": "r", "attempt": 1},
    "circuit_breakers": {"tool": "ruff", "mode": "auto"},
    "patch_ledger": {"task_id": "r/w/t"},
}
MACHINES = [pytest.param(kind.name, kind.table, id=kind.name) for kind in KINDS.values()]


class Shell:
    """Somebody at the sqlite3 shell, who knows the tables."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def audit(self, machine: str, entity: str, target: str, trigger: str, **columns: Any) -> int:
        """Adds the next audit row of the entity; `columns` overrule what would be right."""
        last = self.db.execute(
            "SELECT seq, to_state FROM state_transitions WHERE entity_type = ? AND entity_id = ?"
            " ORDER BY seq DESC LIMIT 1",
            (machine, entity),
        ).fetchone()
        prev, source = last or (None, None)
        head = self.db.execute("SELECT coalesce(max(seq), 0) FROM state_transitions").fetchone()[0]
        row = {
            "seq": head + 1,
            "event_id": f"evt_{head + 1}",
            "event_type": f"{machine}_state_transition",
            "entity_type": machine,
            "entity_id": entity,
            "from_state": source,
            "to_state": target,
            "trigger": trigger,
            "severity": "info",
            "metadata": "{}",
            "transitioned_at": 100.0,
            "hash": "a" * 64,
            "entity_prev": prev,
            **columns,
        }
        return self.insert("state_transitions", row)

    def insert(self, table: str, row: dict[str, Any], verb: str = "INSERT") -> int:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        sql = f"{verb} INTO {table} ({names}) VALUES ({marks})"
        self.db.execute(sql, tuple(row.values()))
        return int(row.get("seq", 0))

    def born(self, machine: str, entity: str = "e", **columns: Any) -> int:
        """Creates an entity, audited."""
        chart = chart_of(machine)
        seq = self.audit(machine, entity, chart.initial, "created")
        self.insert(KINDS[machine].table or "", entity_row(machine, entity, seq, **columns))
        return seq

    def walk(self, machine: str, target: str, entity: str = "e") -> int:
        """Audits the shortest way to `target`; the entity itself stays where it is."""
        seq = 0
        for state, trigger in way(chart_of(machine), target):
            seq = self.audit(machine, entity, state, trigger)
        return seq

    def moved(self, machine: str, target: str, **columns: Any) -> None:
        """Takes the entity to `target`, audited, with these columns."""
        seq = self.walk(machine, target)
        row = {"state": target, "audit_seq": seq, "version": 9, **columns}
        sets = ", ".join(f"{name} = ?" for name in row)
        self.db.execute(f"UPDATE {KINDS[machine].table} SET {sets}", tuple(row.values()))


def chart_of(machine: str) -> Chart:
    chart = KINDS[machine].chart
    assert chart is not None
    return chart


def way(chart: Chart, target: str) -> list[tuple[str, str]]:
    """(state, trigger) of each step from the initial state to `target`."""
    ways: dict[str, list[tuple[str, str]]] = {chart.initial: []}
    queue = [chart.initial]
    for state in queue:
        for edge in chart.edges:
            if edge.source == state and str(edge.target) not in ways:
                ways[str(edge.target)] = [*ways[state], (str(edge.target), edge.trigger)]
                queue.append(str(edge.target))
    return ways[target]


def entity_row(machine: str, entity: str, audit_seq: int, **columns: Any) -> dict[str, Any]:
    kind = KINDS[machine]
    return {
        "n": 1,
        "id": entity,
        "state": chart_of(machine).initial,
        "version": 1,
        "audit_seq": audit_seq,
        "created_at": 100.0,
        "value": "{}",
        "metadata": "{}",
        **OWN[kind.table or ""],
        **columns,
    }


@pytest.fixture
def shell() -> Iterator[Shell]:
    db = empty_database()
    yield Shell(db)
    db.close()


def refused(text: str) -> Any:
    return pytest.raises(sqlite3.IntegrityError, match=text)


# --- the audit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_every_edge_of_the_chart_is_taken(shell: Shell, machine: str, table: str) -> None:
    for number, edge in enumerate(chart_of(machine).edges):
        entity = f"e{number}"
        shell.audit(machine, entity, chart_of(machine).initial, "created")
        for state, trigger in way(chart_of(machine), edge.source):
            shell.audit(machine, entity, state, trigger)
        shell.audit(machine, entity, edge.target, edge.trigger)


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_every_pair_of_states_without_an_edge_is_refused(
    shell: Shell, machine: str, table: str
) -> None:
    chart = chart_of(machine)
    legal = {(e.source, e.target) for e in chart.edges}
    for number, source in enumerate(chart.states):
        entity = f"e{number}"
        shell.audit(machine, entity, chart.initial, "created")
        for state, trigger in way(chart, source):
            shell.audit(machine, entity, state, trigger)
        for target in chart.states:
            if (source, target) not in legal:
                with refused("the edge is not in the chart"):
                    shell.audit(machine, entity, target, chart.edges[0].trigger)


def test_a_legal_edge_by_another_trigger_is_refused(shell: Shell) -> None:
    shell.born("task")
    with refused("the edge is not in the chart"):
        shell.audit("task", "e", "queued", "task_failed")


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_an_entity_is_born_in_its_initial_state_only(
    shell: Shell, machine: str, table: str
) -> None:
    for state in chart_of(machine).states:
        if state != chart_of(machine).initial:
            with refused("not born in its initial state"):
                shell.audit(machine, "e", state, "created")


def test_a_from_state_that_is_not_the_last_to_state_is_refused(shell: Shell) -> None:
    shell.born("task")
    with refused("from_state is not the last to_state"):
        shell.audit("task", "e", "running", "worker_assigned", from_state="queued")


def test_a_row_that_follows_one_that_was_followed_is_refused(shell: Shell) -> None:
    first = shell.born("task")
    shell.audit("task", "e", "queued", "dependencies_met")
    with refused("from_state is not the last to_state"):
        shell.audit(
            "task", "e", "queued", "dependencies_met", entity_prev=first, from_state="pending"
        )


def test_a_row_that_follows_another_entitys_is_refused(shell: Shell) -> None:
    other = shell.born("task", "other")
    shell.born("task", "e", n=2)
    with refused("from_state is not the last to_state"):
        shell.audit("task", "e", "queued", "dependencies_met", entity_prev=other)


def test_a_second_birth_is_refused(shell: Shell) -> None:
    shell.born("task")
    with refused("the entity exists already"):
        shell.audit("task", "e", "pending", "created", entity_prev=None, from_state=None)


def test_a_first_row_that_comes_from_somewhere_is_refused(shell: Shell) -> None:
    with refused("a row without entity_prev is a creation"):
        shell.audit("task", "e", "queued", "dependencies_met", from_state="pending")


def test_a_row_that_is_no_transition_has_its_own_event_type(shell: Shell) -> None:
    shell.born("task")
    shell.audit("task", "e", "pending", "result_refused", event_type="result_refused")
    with refused("the edge is not in the chart"):
        shell.audit("task", "e", "pending", "result_refused")


@pytest.mark.parametrize("seq", [1, 2, 4, -1])
def test_a_number_that_is_not_the_next_is_refused(shell: Shell, seq: int) -> None:
    shell.born("task", "one")
    shell.born("task", "two", n=2)
    with refused("seq must be the next one"):
        shell.audit("task", "three", "pending", "created", seq=seq)


def test_the_first_row_has_the_number_one(shell: Shell) -> None:
    with refused("seq must be the next one"):
        shell.audit("task", "e", "pending", "created", seq=2)


def test_an_instant_before_the_last_one_is_refused(shell: Shell) -> None:
    shell.born("task")
    with refused("transitioned_at never goes back"):
        shell.audit("task", "e", "queued", "dependencies_met", transitioned_at=99.9)


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [("severity", "loud", "severity_known"), ("hash", "a" * 63, "hash_is_sha256")],
)
def test_a_malformed_audit_row_is_refused(
    shell: Shell, column: str, value: str, constraint: str
) -> None:
    with refused(constraint):
        shell.audit("task", "e", "pending", "created", **{column: value})


def test_an_audit_row_is_never_changed(shell: Shell) -> None:
    shell.born("task")
    with refused("a row is never changed"):
        shell.db.execute("UPDATE state_transitions SET reason = 'nicer'")


def test_an_audit_row_is_never_deleted(shell: Shell) -> None:
    shell.born("task")
    with refused("rows go only as a prefix"):
        shell.db.execute("DELETE FROM state_transitions")


@pytest.mark.parametrize("victim", ["its number", "its place after another"])
def test_an_audit_row_is_never_replaced(shell: Shell, victim: str) -> None:
    first = shell.born("task")
    second = shell.audit("task", "e", "queued", "dependencies_met")
    row = dict(
        zip(
            [c[0] for c in shell.db.execute("SELECT * FROM state_transitions").description],
            shell.db.execute("SELECT * FROM state_transitions WHERE seq = 2").fetchone(),
            strict=True,
        )
    )
    assert row["entity_prev"] == first
    forged = {**row, "reason": "forged", "seq": second if victim == "its number" else second + 1}
    with refused("audit:"):
        shell.insert("state_transitions", forged, "INSERT OR REPLACE")
    assert shell.db.execute("SELECT count(*) FROM state_transitions").fetchone() == (2,)


# --- retention ----------------------------------------------------------------------------------


def ended(shell: Shell) -> int:
    """A task that has ended, and another that lives on. Returns the last seq of the first."""
    shell.born("task")
    shell.moved("task", "cancelled", completed_at=100.0)
    last = shell.db.execute("SELECT max(seq) FROM state_transitions").fetchone()[0]
    shell.born("task", "other", n=2)
    return int(last)


def anchor(shell: Shell, seq: int, hash_: str = "a" * 64) -> None:
    shell.db.execute("UPDATE meta SET value = ? WHERE key = 'anchor'", (f"{seq}:{hash_}",))


def test_a_prefix_under_an_anchor_may_go(shell: Shell) -> None:
    last = ended(shell)
    shell.db.execute("BEGIN")
    anchor(shell, last)
    shell.db.execute("DELETE FROM state_transitions WHERE seq <= ?", (last,))
    shell.db.execute("COMMIT")
    assert shell.db.execute("SELECT min(seq) FROM state_transitions").fetchone() == (last + 1,)


def test_nothing_beyond_the_anchor_may_go(shell: Shell) -> None:
    last = ended(shell)
    anchor(shell, last)
    with refused("rows go only as a prefix"):
        shell.db.execute("DELETE FROM state_transitions")


def test_an_anchor_with_a_false_hash_is_refused(shell: Shell) -> None:
    last = ended(shell)
    with refused("meta: "):
        anchor(shell, last, "b" * 64)


def test_an_anchor_over_the_rows_of_a_living_entity_is_refused(shell: Shell) -> None:
    shell.born("task")
    shell.born("task", "other", n=2)
    with refused("meta: "):
        anchor(shell, 1)


# --- meta ---------------------------------------------------------------------------------------


def test_a_head_that_is_not_the_last_row_is_refused(shell: Shell) -> None:
    shell.born("task")
    shell.db.execute("UPDATE meta SET value = '1' WHERE key = 'head_seq'")
    for key, value in (("head_seq", "0"), ("head_seq", "2"), ("head_hash", "b" * 64)):
        with refused("meta: "):
            shell.db.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))


def test_an_owner_epoch_never_goes_back(shell: Shell) -> None:
    shell.db.execute("UPDATE meta SET value = '4' WHERE key = 'owner_epoch'")
    with refused("meta: "):
        shell.db.execute("UPDATE meta SET value = '3' WHERE key = 'owner_epoch'")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM meta WHERE key = 'owner_epoch'",
        "INSERT OR REPLACE INTO meta VALUES ('owner_epoch', '0')",
        "UPDATE meta SET key = 'old' WHERE key = 'owner_epoch'",
    ],
)
def test_a_fact_of_the_store_is_not_taken_away(shell: Shell, sql: str) -> None:
    with refused("meta: "):
        shell.db.execute(sql)


# --- charts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO legal_edges VALUES ('task', 'completed', 'pending', 'again', 'info')",
        "INSERT OR REPLACE INTO legal_edges SELECT machine, from_state, to_state, trigger, 'debug'"
        " FROM legal_edges WHERE machine = 'task' LIMIT 1",
        "UPDATE legal_edges SET to_state = 'completed'",
        "DELETE FROM legal_edges",
    ],
)
def test_the_edges_of_the_eight_machines_are_fixed(shell: Shell, sql: str) -> None:
    with refused("legal_edges: "):
        shell.db.execute(sql)


def test_a_users_machine_may_bring_its_edges(shell: Shell) -> None:
    shell.db.execute("INSERT INTO legal_edges VALUES ('door', 'open', 'shut', 'pushed', 'info')")
    shell.audit("door", "front", "open", "created")
    shell.audit("door", "front", "shut", "pushed")
    with refused("the edge is not in the chart"):
        shell.audit("door", "front", "open", "pulled")


# --- entities -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_an_entity_without_its_audit_is_refused(shell: Shell, machine: str, table: str) -> None:
    with refused(f"{table}: an entity is made once, in the state that was last audited"):
        shell.insert(table, entity_row(machine, "e", 1))


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_a_state_that_was_not_audited_is_refused(shell: Shell, machine: str, table: str) -> None:
    shell.born(machine)
    other = next(s for s in chart_of(machine).states if s != chart_of(machine).initial)
    with refused(f"{table}: the state must be the last audited one"):
        shell.db.execute(f"UPDATE {table} SET version = 2, state = ?", (other,))


def test_a_state_that_is_no_longer_the_last_audited_one_is_refused(shell: Shell) -> None:
    shell.born("task")
    seq = shell.audit("task", "e", "queued", "dependencies_met")
    shell.audit("task", "e", "blocked", "gate_failed")
    with refused("tasks: the state must be the last audited one"):
        shell.db.execute("UPDATE tasks SET state = 'queued', version = 2, audit_seq = ?", (seq,))


def test_a_state_audited_for_another_entity_is_refused(shell: Shell) -> None:
    shell.born("task")
    shell.born("task", "other", n=2)
    seq = shell.audit("task", "other", "queued", "dependencies_met")
    with refused("tasks: the state must be the last audited one"):
        shell.db.execute(
            "UPDATE tasks SET state = 'queued', version = 2, audit_seq = ? WHERE n = 1", (seq,)
        )


def test_a_version_that_does_not_grow_is_refused(shell: Shell) -> None:
    shell.born("task")
    with refused("the version grow"):
        shell.db.execute("UPDATE tasks SET version = 1")


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_an_entity_is_never_deleted(shell: Shell, machine: str, table: str) -> None:
    shell.born(machine)
    with refused(f"{table}: an entity is never deleted"):
        shell.db.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_an_entity_is_never_replaced(shell: Shell, machine: str, table: str) -> None:
    seq = shell.born(machine)
    for n in (1, 2):
        with refused(f"{table}: an entity is made once"):
            row = entity_row(machine, "e", seq, n=n, value='{"forged":1}')
            shell.insert(table, row, "INSERT OR REPLACE")


def test_a_run_does_not_replace_the_one_with_its_key(shell: Shell) -> None:
    shell.born("run", idempotency_key="k")
    seq = shell.audit("run", "other", "initializing", "created")
    with refused("runs: an entity is made once"):
        row = entity_row("run", "other", seq, n=2, idempotency_key="k")
        shell.insert("runs", row, "INSERT OR REPLACE")


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_what_is_written_at_creation_stays(shell: Shell, machine: str, table: str) -> None:
    shell.born(machine)
    kind = KINDS[machine]
    moving = set(kind.changed_columns) - {"n"}
    for column in (c for c in kind.new_columns if c not in moving):
        with refused(f"{table}: this column is written once"):
            shell.db.execute(f"UPDATE {table} SET {column} = {column}")


def test_a_users_actor_is_held_to_its_audit_too(shell: Shell) -> None:
    seq = shell.audit("door", "front", "open", "created")
    row = {"n": 1, "kind": "door", "id": "front", "state": "open", "version": 1, "ended": 0}
    row |= {"audit_seq": seq, "value": "{}", "metadata": "{}"}
    with refused("actors: an entity is made once"):
        shell.insert("actors", {**row, "state": "shut"})
    shell.insert("actors", row)
    for sql in (
        "UPDATE actors SET state = 'shut', version = 2",
        "UPDATE actors SET id = 'back'",
        "DELETE FROM actors",
    ):
        with refused("actors: "):
            shell.db.execute(sql)


# --- invariants ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_a_state_outside_the_chart_is_refused(shell: Shell, machine: str, table: str) -> None:
    without_refusals(shell.db)
    with refused("state_in_chart"):
        shell.insert(table, entity_row(machine, "e", 1, state="pending queued"))


@pytest.mark.parametrize(("machine", "table"), MACHINES)
def test_completed_at_is_set_exactly_at_an_end(shell: Shell, machine: str, table: str) -> None:
    without_refusals(shell.db)
    for n, state in enumerate(chart_of(machine).states, 1):
        at_end = None if state in chart_of(machine).terminal else 100.0
        with refused("ended_has_completed_at"):
            row = entity_row(machine, "e", 1, n=n, state=state, completed_at=at_end)
            shell.insert(table, row)


@pytest.mark.parametrize(
    "stamps",
    [
        {"created_at": 100.0, "started_at": 99.0},
        {"created_at": 100.0, "completed_at": 99.0, "state": "cancelled"},
        {"created_at": 90.0, "started_at": 100.0, "completed_at": 99.0, "state": "cancelled"},
    ],
)
@pytest.mark.parametrize("machine", ["run", "workstream", "task", "test_gate"])
def test_stamps_out_of_order_are_refused(
    shell: Shell, machine: str, stamps: dict[str, Any]
) -> None:
    without_refusals(shell.db)
    with refused("stamps_in_order"):
        shell.insert(KINDS[machine].table or "", entity_row(machine, "e", 1, **stamps))


@pytest.mark.parametrize(
    ("machine", "columns", "constraint"),
    [
        ("task", {"state": "running"}, "running_has_worker_and_lease"),
        ("task", {"state": "running", "worker_id": "w"}, "running_has_worker_and_lease"),
        ("task", {"state": "running", "lease": "1.1"}, "running_has_worker_and_lease"),
        ("task", {"state": "queued", "worker_id": "w"}, "running_has_worker_and_lease"),
        ("task", {"state": "queued", "lease": "1.1"}, "running_has_worker_and_lease"),
        ("task", {"retry_count": 4}, "retries_within_max"),
        ("task", {"retry_count": -1}, "retries_within_max"),
        ("test_gate", {"state": "passed", "completed_at": 100.0}, "passed_has_exit_code"),
        ("test_gate", {"state": "failed", "completed_at": 100.0}, "failed_has_exit_code"),
        (
            "test_gate",
            {"state": "failed", "completed_at": 100.0, "reason": ""},
            "failed_has_exit_code",
        ),
        ("patch_ledger", {"state": "quarantined"}, "quarantined_has_reason"),
        (
            "patch_ledger",
            {"state": "quarantined", "quarantine_reason": ""},
            "quarantined_has_reason",
        ),
        ("patch_ledger", {"state": "rolled_back", "completed_at": 100.0}, "rolled_back_has_reason"),
    ],
)
def test_a_broken_invariant_is_refused(
    shell: Shell, machine: str, columns: dict[str, Any], constraint: str
) -> None:
    without_refusals(shell.db)
    with refused(constraint):
        shell.insert(KINDS[machine].table or "", entity_row(machine, "e", 1, **columns))


def test_two_runs_of_one_key_are_refused(shell: Shell) -> None:
    without_refusals(shell.db)
    shell.insert("runs", entity_row("run", "one", 1, idempotency_key="k"))
    with refused("runs.idempotency_key"):
        shell.insert("runs", entity_row("run", "two", 2, n=2, idempotency_key="k"))
