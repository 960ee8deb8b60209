-- What is refused, from the sqlite3 shell too: forged edges, rewritten history, entities that are
-- not what their audit says.
--
-- The WHEN of a trigger holds the whole condition and ends in IS NOT TRUE, for NULL must refuse too;
-- its body only says what was wrong, and costs nothing while nothing is. They stand BEFORE, because
-- INSERT OR REPLACE has deleted its victim by the time an AFTER trigger runs.

CREATE TRIGGER audit_follows BEFORE INSERT ON state_transitions
WHEN (
  CASE WHEN NEW.entity_prev IS NULL THEN
    NEW.from_state IS NULL
    AND CASE NEW.entity_type
      WHEN 'run' THEN NEW.to_state = 'initializing'
        AND NOT EXISTS (SELECT 1 FROM runs WHERE id = NEW.entity_id)
      WHEN 'workstream' THEN NEW.to_state = 'pending'
        AND NOT EXISTS (SELECT 1 FROM workstreams WHERE id = NEW.entity_id)
      WHEN 'task' THEN NEW.to_state = 'pending'
        AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = NEW.entity_id)
      WHEN 'worker' THEN NEW.to_state = 'initializing'
        AND NOT EXISTS (SELECT 1 FROM workers WHERE id = NEW.entity_id)
      WHEN 'uet_worker' THEN NEW.to_state = 'spawning'
        AND NOT EXISTS (SELECT 1 FROM uet_workers WHERE id = NEW.entity_id)
      WHEN 'test_gate' THEN NEW.to_state = 'pending'
        AND NOT EXISTS (SELECT 1 FROM test_gates WHERE id = NEW.entity_id)
      WHEN 'circuit_breaker' THEN NEW.to_state = 'closed'
        AND NOT EXISTS (SELECT 1 FROM circuit_breakers WHERE id = NEW.entity_id)
      WHEN 'patch_ledger' THEN NEW.to_state = 'pending'
        AND NOT EXISTS (SELECT 1 FROM patch_ledger WHERE id = NEW.entity_id)
      ELSE NOT EXISTS (SELECT 1 FROM actors WHERE kind = NEW.entity_type AND id = NEW.entity_id)
    END
  ELSE
    (EXISTS (SELECT 1 FROM legal_edges
        WHERE machine = NEW.entity_type AND from_state = NEW.from_state
          AND to_state = NEW.to_state AND trigger = NEW.trigger)
      OR (NEW.from_state = NEW.to_state
        AND NEW.event_type <> NEW.entity_type || '_state_transition'))
    AND NEW.from_state = (SELECT to_state FROM state_transitions
        WHERE seq = NEW.entity_prev AND entity_type = NEW.entity_type AND entity_id = NEW.entity_id)
    AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.entity_prev)
  END
  AND coalesce(
    (SELECT seq = NEW.seq - 1 AND transitioned_at <= NEW.transitioned_at
      FROM state_transitions ORDER BY seq DESC LIMIT 1),
    NEW.seq = 1)
) IS NOT TRUE
BEGIN
  SELECT CASE
    WHEN coalesce(
        (SELECT seq = NEW.seq - 1 AND transitioned_at <= NEW.transitioned_at
          FROM state_transitions ORDER BY seq DESC LIMIT 1), NEW.seq = 1) IS NOT TRUE
      THEN RAISE(ABORT, 'audit: seq must be the next one, and transitioned_at never goes back')
    WHEN NEW.entity_prev IS NULL AND NEW.from_state IS NOT NULL
      THEN RAISE(ABORT, 'audit: a row without entity_prev is a creation, its from_state is NULL')
    WHEN NEW.entity_prev IS NULL
      THEN RAISE(ABORT, 'audit: the entity exists already, or is not born in its initial state')
    WHEN NEW.from_state IS NOT (SELECT to_state FROM state_transitions
        WHERE seq = NEW.entity_prev AND entity_type = NEW.entity_type AND entity_id = NEW.entity_id)
      OR EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.entity_prev)
      THEN RAISE(ABORT, 'audit: from_state is not the last to_state of the entity')
    ELSE RAISE(ABORT, 'audit: the edge is not in the chart')
  END;
END;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON state_transitions
BEGIN SELECT RAISE(ABORT, 'audit: a row is never changed'); END;

CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON state_transitions
WHEN (OLD.seq <= (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'anchor')) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'audit: rows go only as a prefix, under an anchor that names its end'); END;

CREATE TRIGGER meta_is_true BEFORE UPDATE ON meta
WHEN (NEW.key = OLD.key AND CASE OLD.key
  WHEN 'head_seq' THEN CAST(NEW.value AS INTEGER)
    = coalesce((SELECT max(seq) FROM state_transitions), 0)
  WHEN 'head_hash' THEN NEW.value
    = coalesce((SELECT hash FROM state_transitions ORDER BY seq DESC LIMIT 1), '')
  WHEN 'owner_epoch' THEN CAST(NEW.value AS INTEGER) > CAST(OLD.value AS INTEGER)
  WHEN 'anchor' THEN EXISTS (SELECT 1 FROM state_transitions
    WHERE seq = CAST(NEW.value AS INTEGER) AND seq || ':' || hash = NEW.value)
    AND CAST(NEW.value AS INTEGER) < (SELECT max(seq) FROM state_transitions)
    AND NOT EXISTS (SELECT 1 FROM runs
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM workstreams
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM tasks
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM workers
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM uet_workers
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM test_gates
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM circuit_breakers
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM patch_ledger
      WHERE completed_at IS NULL AND audit_seq <= CAST(NEW.value AS INTEGER))
    AND NOT EXISTS (SELECT 1 FROM actors
      WHERE ended = 0 AND audit_seq <= CAST(NEW.value AS INTEGER))
  ELSE 1 END) IS NOT TRUE
BEGIN
  SELECT RAISE(ABORT, 'meta: the head is the last audit row, the owner epoch only grows, and an anchor is an audit row older than the last one of every actor that lives');
END;

CREATE TRIGGER meta_is_not_replaced BEFORE INSERT ON meta
WHEN EXISTS (SELECT 1 FROM meta WHERE key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'meta: update a key that is there'); END;

CREATE TRIGGER meta_is_never_deleted BEFORE DELETE ON meta
BEGIN SELECT RAISE(ABORT, 'meta: a key is never deleted'); END;

-- A user's own chart may add its edges; those of the eight machines change by a migration only.
CREATE TRIGGER legal_edges_are_the_charts BEFORE INSERT ON legal_edges
WHEN NEW.machine IN ('run', 'workstream', 'task', 'worker',
  'uet_worker', 'test_gate', 'circuit_breaker', 'patch_ledger')
  OR EXISTS (SELECT 1 FROM legal_edges WHERE machine = NEW.machine
    AND from_state = NEW.from_state AND to_state = NEW.to_state AND trigger = NEW.trigger)
BEGIN SELECT RAISE(ABORT, 'legal_edges: the edges of this machine are fixed, or the edge is there'); END;

CREATE TRIGGER legal_edges_are_never_changed BEFORE UPDATE ON legal_edges
BEGIN SELECT RAISE(ABORT, 'legal_edges: an edge is never changed'); END;

CREATE TRIGGER legal_edges_are_never_deleted BEFORE DELETE ON legal_edges
BEGIN SELECT RAISE(ABORT, 'legal_edges: an edge is never deleted'); END;

-- Entities: the state is the last audited one, what is fixed stays, nothing goes.

CREATE TRIGGER runs_born BEFORE INSERT ON runs
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'run' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM runs WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM runs WHERE id = NEW.id)
  AND NOT EXISTS (SELECT 1 FROM runs WHERE idempotency_key = NEW.idempotency_key)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'runs: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER runs_moved BEFORE UPDATE OF state, version, audit_seq ON runs
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'run' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'runs: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER runs_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, name, phase, idempotency_key ON runs
BEGIN SELECT RAISE(ABORT, 'runs: this column is written once, at creation'); END;
CREATE TRIGGER runs_kept BEFORE DELETE ON runs
BEGIN SELECT RAISE(ABORT, 'runs: an entity is never deleted'); END;

CREATE TRIGGER workstreams_born BEFORE INSERT ON workstreams
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'workstream' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM workstreams WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM workstreams WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'workstreams: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER workstreams_moved BEFORE UPDATE OF state, version, audit_seq ON workstreams
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'workstream' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'workstreams: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER workstreams_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec ON workstreams
BEGIN SELECT RAISE(ABORT, 'workstreams: this column is written once, at creation'); END;
CREATE TRIGGER workstreams_kept BEFORE DELETE ON workstreams
BEGIN SELECT RAISE(ABORT, 'workstreams: an entity is never deleted'); END;

CREATE TRIGGER tasks_born BEFORE INSERT ON tasks
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'task' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM tasks WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM tasks WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'tasks: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER tasks_moved BEFORE UPDATE OF state, version, audit_seq ON tasks
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'task' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'tasks: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER tasks_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, workstream_id, max_retries, retry_of ON tasks
BEGIN SELECT RAISE(ABORT, 'tasks: this column is written once, at creation'); END;
CREATE TRIGGER tasks_kept BEFORE DELETE ON tasks
BEGIN SELECT RAISE(ABORT, 'tasks: an entity is never deleted'); END;

CREATE TRIGGER workers_born BEFORE INSERT ON workers
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'worker' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM workers WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM workers WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'workers: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER workers_moved BEFORE UPDATE OF state, version, audit_seq ON workers
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'worker' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'workers: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER workers_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, pool, kind ON workers
BEGIN SELECT RAISE(ABORT, 'workers: this column is written once, at creation'); END;
CREATE TRIGGER workers_kept BEFORE DELETE ON workers
BEGIN SELECT RAISE(ABORT, 'workers: an entity is never deleted'); END;

CREATE TRIGGER uet_workers_born BEFORE INSERT ON uet_workers
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'uet_worker' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM uet_workers WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM uet_workers WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'uet_workers: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER uet_workers_moved BEFORE UPDATE OF state, version, audit_seq ON uet_workers
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'uet_worker' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'uet_workers: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER uet_workers_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, worker_id ON uet_workers
BEGIN SELECT RAISE(ABORT, 'uet_workers: this column is written once, at creation'); END;
CREATE TRIGGER uet_workers_kept BEFORE DELETE ON uet_workers
BEGIN SELECT RAISE(ABORT, 'uet_workers: an entity is never deleted'); END;

CREATE TRIGGER test_gates_born BEFORE INSERT ON test_gates
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'test_gate' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM test_gates WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM test_gates WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'test_gates: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER test_gates_moved BEFORE UPDATE OF state, version, audit_seq ON test_gates
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'test_gate' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'test_gates: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER test_gates_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, name, subject, retry_of ON test_gates
BEGIN SELECT RAISE(ABORT, 'test_gates: this column is written once, at creation'); END;
CREATE TRIGGER test_gates_kept BEFORE DELETE ON test_gates
BEGIN SELECT RAISE(ABORT, 'test_gates: an entity is never deleted'); END;

CREATE TRIGGER circuit_breakers_born BEFORE INSERT ON circuit_breakers
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'circuit_breaker' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM circuit_breakers WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM circuit_breakers WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'circuit_breakers: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER circuit_breakers_moved BEFORE UPDATE OF state, version, audit_seq ON circuit_breakers
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'circuit_breaker' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'circuit_breakers: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER circuit_breakers_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, tool ON circuit_breakers
BEGIN SELECT RAISE(ABORT, 'circuit_breakers: this column is written once, at creation'); END;
CREATE TRIGGER circuit_breakers_kept BEFORE DELETE ON circuit_breakers
BEGIN SELECT RAISE(ABORT, 'circuit_breakers: an entity is never deleted'); END;

CREATE TRIGGER patch_ledger_born BEFORE INSERT ON patch_ledger
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'patch_ledger' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM patch_ledger WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM patch_ledger WHERE id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'patch_ledger: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER patch_ledger_moved BEFORE UPDATE OF state, version, audit_seq ON patch_ledger
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = 'patch_ledger' AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'patch_ledger: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER patch_ledger_fixed BEFORE UPDATE OF
  n, id, run_id, created_at, spec, task_id ON patch_ledger
BEGIN SELECT RAISE(ABORT, 'patch_ledger: this column is written once, at creation'); END;
CREATE TRIGGER patch_ledger_kept BEFORE DELETE ON patch_ledger
BEGIN SELECT RAISE(ABORT, 'patch_ledger: an entity is never deleted'); END;

CREATE TRIGGER actors_born BEFORE INSERT ON actors
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = NEW.kind AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND NOT EXISTS (SELECT 1 FROM actors WHERE n = NEW.n)
  AND NOT EXISTS (SELECT 1 FROM actors WHERE kind = NEW.kind AND id = NEW.id)) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'actors: an entity is made once, in the state that was last audited'); END;
CREATE TRIGGER actors_moved BEFORE UPDATE OF state, version, audit_seq ON actors
WHEN (EXISTS (SELECT 1 FROM state_transitions WHERE seq = NEW.audit_seq
    AND entity_type = NEW.kind AND entity_id = NEW.id AND to_state = NEW.state)
  AND NOT EXISTS (SELECT 1 FROM state_transitions WHERE entity_prev = NEW.audit_seq)
  AND OLD.version < NEW.version) IS NOT TRUE
BEGIN SELECT RAISE(ABORT, 'actors: the state must be the last audited one, and the version grow'); END;
CREATE TRIGGER actors_fixed BEFORE UPDATE OF
  n, kind, id ON actors
BEGIN SELECT RAISE(ABORT, 'actors: this column is written once, at creation'); END;
CREATE TRIGGER actors_kept BEFORE DELETE ON actors
BEGIN SELECT RAISE(ABORT, 'actors: an entity is never deleted'); END;
