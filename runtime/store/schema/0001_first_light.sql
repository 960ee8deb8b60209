-- First light: a table per machine, the audit chain, what is undelivered, and the store's own facts.
--
-- States, ends and edges are those of the compiled charts; a test holds the two together.
-- CHECKs are chains of comparisons on purpose: `IN (...)` builds a table per row, at several times
-- the cost. A state or stamp that a CHECK names is NOT NULL or compared by IS, for a CHECK that
-- comes out NULL lets the row pass.

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES
  ('anchor', '0:'),       -- seq:hash of the last audit row that retention took away
  ('clean', '1'),         -- 1: the last owner closed the store
  ('head_hash', ''),      -- the last audit row: a tail that was cut off is found by it
  ('head_seq', '0'),
  ('jsonl', '0:0'),       -- bytes:seq up to which transitions.jsonl is known to be true and synced
  ('owner_epoch', '0'),
  ('unfinished', '{}');   -- by table: below this n every actor has ended

CREATE TABLE migrations (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  checksum TEXT NOT NULL,
  applied_at REAL NOT NULL
) STRICT;

-- The audit. The rowid append is the fastest SQLite has; entity_prev, unique, proves cheaply that a
-- row follows its entity's last one, and makes an entity's history a walk by key.
CREATE TABLE state_transitions (
  seq INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  entity_type TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  from_state TEXT,
  to_state TEXT NOT NULL,
  trigger TEXT NOT NULL,
  severity TEXT NOT NULL,
  reason TEXT,
  metadata TEXT NOT NULL,
  operator TEXT,
  run_id TEXT,
  transitioned_at REAL NOT NULL,
  hash TEXT NOT NULL,
  entity_prev INTEGER UNIQUE,
  CONSTRAINT severity_known CHECK (
    severity = 'info' OR severity = 'warning' OR severity = 'error' OR severity = 'critical'
    OR severity = 'debug'),
  CONSTRAINT hash_is_sha256 CHECK (length(hash) = 64)
) STRICT;

CREATE TABLE legal_edges (
  machine TEXT NOT NULL,
  from_state TEXT NOT NULL,
  to_state TEXT NOT NULL,
  trigger TEXT NOT NULL,
  severity TEXT NOT NULL,
  PRIMARY KEY (machine, from_state, to_state, trigger)
) STRICT, WITHOUT ROWID;

INSERT INTO legal_edges (machine, from_state, to_state, trigger, severity) VALUES
  ('run', 'initializing', 'running', 'run_started', 'info'),
  ('run', 'initializing', 'failed', 'run_failed', 'error'),
  ('run', 'initializing', 'cancelled', 'run_cancelled', 'warning'),
  ('run', 'running', 'paused', 'run_paused', 'info'),
  ('run', 'running', 'completed', 'run_completed', 'info'),
  ('run', 'running', 'failed', 'run_failed', 'error'),
  ('run', 'running', 'cancelled', 'run_cancelled', 'warning'),
  ('run', 'paused', 'running', 'run_resumed', 'info'),
  ('run', 'paused', 'failed', 'run_failed', 'error'),
  ('run', 'paused', 'cancelled', 'run_cancelled', 'warning'),
  ('workstream', 'pending', 'ready', 'ready', 'info'),
  ('workstream', 'pending', 'blocked', 'blocked', 'warning'),
  ('workstream', 'pending', 'skipped', 'skipped', 'info'),
  ('workstream', 'pending', 'cancelled', 'cancelled', 'warning'),
  ('workstream', 'ready', 'running', 'started', 'info'),
  ('workstream', 'ready', 'skipped', 'skipped', 'info'),
  ('workstream', 'ready', 'cancelled', 'cancelled', 'warning'),
  ('workstream', 'ready', 'failed', 'failed', 'error'),
  ('workstream', 'running', 'paused', 'paused', 'info'),
  ('workstream', 'running', 'blocked', 'blocked', 'warning'),
  ('workstream', 'running', 'validating', 'validating', 'info'),
  ('workstream', 'running', 'failed', 'failed', 'error'),
  ('workstream', 'running', 'cancelled', 'cancelled', 'warning'),
  ('workstream', 'paused', 'running', 'resumed', 'info'),
  ('workstream', 'paused', 'failed', 'failed', 'error'),
  ('workstream', 'paused', 'cancelled', 'cancelled', 'warning'),
  ('workstream', 'blocked', 'pending', 'unblocked', 'info'),
  ('workstream', 'blocked', 'skipped', 'skipped', 'warning'),
  ('workstream', 'blocked', 'failed', 'failed', 'error'),
  ('workstream', 'blocked', 'cancelled', 'cancelled', 'warning'),
  ('workstream', 'validating', 'completed', 'completed', 'info'),
  ('workstream', 'validating', 'failed', 'failed', 'error'),
  ('workstream', 'validating', 'cancelled', 'cancelled', 'warning'),
  ('task', 'pending', 'queued', 'dependencies_met', 'info'),
  ('task', 'pending', 'blocked', 'dependency_failed', 'warning'),
  ('task', 'pending', 'cancelled', 'task_cancelled', 'warning'),
  ('task', 'queued', 'running', 'worker_assigned', 'info'),
  ('task', 'queued', 'blocked', 'gate_failed', 'warning'),
  ('task', 'queued', 'failed', 'task_failed', 'error'),
  ('task', 'queued', 'cancelled', 'task_cancelled', 'warning'),
  ('task', 'blocked', 'pending', 'dependency_recovered', 'info'),
  ('task', 'blocked', 'cancelled', 'task_cancelled', 'warning'),
  ('task', 'running', 'validating', 'execution_complete', 'info'),
  ('task', 'running', 'retrying', 'retry_scheduled', 'warning'),
  ('task', 'running', 'failed', 'task_failed', 'error'),
  ('task', 'running', 'cancelled', 'task_cancelled', 'warning'),
  ('task', 'validating', 'completed', 'validation_passed', 'info'),
  ('task', 'validating', 'retrying', 'retry_scheduled', 'warning'),
  ('task', 'validating', 'failed', 'validation_failed', 'error'),
  ('task', 'validating', 'cancelled', 'task_cancelled', 'warning'),
  ('task', 'retrying', 'queued', 'retry_queued', 'info'),
  ('task', 'retrying', 'failed', 'task_failed', 'error'),
  ('task', 'retrying', 'cancelled', 'task_cancelled', 'warning'),
  ('worker', 'initializing', 'idle', 'registered', 'info'),
  ('worker', 'initializing', 'failed', 'worker_failed', 'error'),
  ('worker', 'initializing', 'shutdown', 'shutdown', 'info'),
  ('worker', 'idle', 'busy', 'task_assigned', 'info'),
  ('worker', 'idle', 'paused', 'paused', 'info'),
  ('worker', 'idle', 'failed', 'worker_failed', 'error'),
  ('worker', 'idle', 'shutdown', 'shutdown', 'info'),
  ('worker', 'busy', 'idle', 'task_completed', 'info'),
  ('worker', 'busy', 'idle', 'assignment_returned', 'info'),
  ('worker', 'busy', 'unresponsive', 'heartbeat_missed', 'warning'),
  ('worker', 'busy', 'failed', 'worker_failed', 'error'),
  ('worker', 'busy', 'shutdown', 'shutdown', 'info'),
  ('worker', 'paused', 'idle', 'resumed', 'info'),
  ('worker', 'paused', 'failed', 'worker_failed', 'error'),
  ('worker', 'paused', 'shutdown', 'shutdown', 'info'),
  ('worker', 'unresponsive', 'busy', 'heartbeat_resumed', 'warning'),
  ('worker', 'unresponsive', 'idle', 'heartbeat_recovered', 'warning'),
  ('worker', 'unresponsive', 'failed', 'worker_failed', 'error'),
  ('worker', 'unresponsive', 'failed', 'recovery_window_exceeded', 'error'),
  ('worker', 'unresponsive', 'shutdown', 'shutdown', 'info'),
  ('worker', 'failed', 'idle', 'recovered', 'warning'),
  ('worker', 'failed', 'shutdown', 'shutdown', 'info'),
  ('uet_worker', 'spawning', 'idle', 'spawned', 'info'),
  ('uet_worker', 'spawning', 'terminated', 'spawn_failed', 'error'),
  ('uet_worker', 'idle', 'busy', 'task_assigned', 'info'),
  ('uet_worker', 'idle', 'terminated', 'shutdown_requested', 'info'),
  ('uet_worker', 'busy', 'idle', 'task_completed', 'info'),
  ('uet_worker', 'busy', 'draining', 'shutdown_requested', 'info'),
  ('uet_worker', 'busy', 'terminated', 'crashed', 'error'),
  ('uet_worker', 'draining', 'terminated', 'drained', 'info'),
  ('uet_worker', 'spawning', 'terminated', 'shutdown_requested', 'info'),
  ('uet_worker', 'idle', 'terminated', 'crashed', 'error'),
  ('uet_worker', 'draining', 'terminated', 'crashed', 'error'),
  ('test_gate', 'pending', 'running', 'execution_started', 'info'),
  ('test_gate', 'pending', 'blocked', 'gate_blocked', 'warning'),
  ('test_gate', 'pending', 'cancelled', 'gate_cancelled', 'warning'),
  ('test_gate', 'running', 'passed', 'gate_passed', 'info'),
  ('test_gate', 'running', 'failed', 'gate_failed', 'error'),
  ('test_gate', 'running', 'cancelled', 'gate_cancelled', 'warning'),
  ('test_gate', 'blocked', 'pending', 'gate_unblocked', 'info'),
  ('test_gate', 'blocked', 'cancelled', 'gate_cancelled', 'warning'),
  ('circuit_breaker', 'closed', 'open', 'failure_threshold_exceeded', 'error'),
  ('circuit_breaker', 'open', 'half_open', 'cooldown_expired', 'warning'),
  ('circuit_breaker', 'half_open', 'closed', 'success_threshold_met', 'info'),
  ('circuit_breaker', 'half_open', 'open', 'test_failed', 'error'),
  ('circuit_breaker', 'closed', 'open', 'manual_override', 'warning'),
  ('circuit_breaker', 'open', 'half_open', 'manual_override', 'warning'),
  ('circuit_breaker', 'half_open', 'closed', 'manual_override', 'warning'),
  ('circuit_breaker', 'half_open', 'open', 'manual_override', 'warning'),
  ('patch_ledger', 'pending', 'validating', 'validation_started', 'info'),
  ('patch_ledger', 'pending', 'expired', 'patch_expired', 'warning'),
  ('patch_ledger', 'pending', 'superseded', 'patch_superseded', 'info'),
  ('patch_ledger', 'pending', 'dropped', 'patch_dropped', 'warning'),
  ('patch_ledger', 'validating', 'staged', 'validation_passed', 'info'),
  ('patch_ledger', 'validating', 'quarantined', 'patch_quarantined', 'error'),
  ('patch_ledger', 'validating', 'pending', 'validation_interrupted', 'warning'),
  ('patch_ledger', 'staged', 'applied', 'patch_applied', 'info'),
  ('patch_ledger', 'staged', 'blocked', 'patch_blocked', 'warning'),
  ('patch_ledger', 'staged', 'quarantined', 'patch_quarantined', 'error'),
  ('patch_ledger', 'staged', 'expired', 'patch_expired', 'warning'),
  ('patch_ledger', 'staged', 'superseded', 'patch_superseded', 'info'),
  ('patch_ledger', 'staged', 'dropped', 'patch_dropped', 'warning'),
  ('patch_ledger', 'blocked', 'staged', 'patch_unblocked', 'info'),
  ('patch_ledger', 'blocked', 'quarantined', 'patch_quarantined', 'error'),
  ('patch_ledger', 'blocked', 'expired', 'patch_expired', 'warning'),
  ('patch_ledger', 'blocked', 'superseded', 'patch_superseded', 'info'),
  ('patch_ledger', 'blocked', 'dropped', 'patch_dropped', 'warning'),
  ('patch_ledger', 'applied', 'verified', 'patch_verified', 'info'),
  ('patch_ledger', 'applied', 'staged', 'patch_restaged', 'warning'),
  ('patch_ledger', 'applied', 'quarantined', 'patch_quarantined', 'error'),
  ('patch_ledger', 'applied', 'rolled_back', 'patch_rolled_back', 'error'),
  ('patch_ledger', 'verified', 'committed', 'patch_committed', 'info'),
  ('patch_ledger', 'verified', 'staged', 'patch_restaged', 'warning'),
  ('patch_ledger', 'verified', 'rolled_back', 'patch_rolled_back', 'error'),
  ('patch_ledger', 'committed', 'rolled_back', 'patch_rolled_back', 'critical'),
  ('patch_ledger', 'quarantined', 'validating', 'validation_started', 'warning'),
  ('patch_ledger', 'quarantined', 'expired', 'patch_expired', 'warning'),
  ('patch_ledger', 'quarantined', 'dropped', 'patch_dropped', 'warning');

CREATE TABLE runs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  name TEXT NOT NULL,
  phase TEXT,
  idempotency_key TEXT UNIQUE,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'initializing' OR state = 'running' OR state = 'paused' OR state = 'completed'
    OR state = 'failed' OR state = 'cancelled'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'completed' OR state = 'failed' OR state = 'cancelled')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at)))
) STRICT;

CREATE TABLE workstreams (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'pending' OR state = 'ready' OR state = 'running' OR state = 'paused'
    OR state = 'blocked' OR state = 'validating' OR state = 'completed' OR state = 'failed'
    OR state = 'cancelled' OR state = 'skipped'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'completed' OR state = 'failed' OR state = 'cancelled' OR state = 'skipped')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at)))
) STRICT;

CREATE TABLE tasks (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  workstream_id TEXT NOT NULL,
  worker_id TEXT,
  lease TEXT,
  retry_count INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  exit_code INTEGER,
  retry_of TEXT,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'pending' OR state = 'queued' OR state = 'blocked' OR state = 'running'
    OR state = 'validating' OR state = 'retrying' OR state = 'completed' OR state = 'failed'
    OR state = 'cancelled'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'completed' OR state = 'failed' OR state = 'cancelled')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at))),
  CONSTRAINT running_has_worker_and_lease CHECK (
    CASE WHEN state = 'running' THEN worker_id IS NOT NULL AND lease IS NOT NULL
           ELSE worker_id IS NULL AND lease IS NULL END),
  CONSTRAINT retries_within_max CHECK (
    retry_count >= 0 AND retry_count <= max_retries)
) STRICT;

CREATE TABLE workers (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  pool TEXT NOT NULL,
  kind TEXT NOT NULL,
  lease TEXT,
  task_id TEXT,
  uet_id TEXT,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'initializing' OR state = 'idle' OR state = 'busy' OR state = 'paused'
    OR state = 'unresponsive' OR state = 'failed' OR state = 'shutdown'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'shutdown')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at)))
) STRICT;

CREATE TABLE uet_workers (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  worker_id TEXT NOT NULL,
  pid INTEGER,
  start_ticks INTEGER,
  boot_id TEXT,
  lease TEXT,
  child_pid INTEGER,
  child_pgid INTEGER,
  child_ticks INTEGER,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'spawning' OR state = 'idle' OR state = 'busy' OR state = 'draining'
    OR state = 'terminated'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'terminated')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at)))
) STRICT;

CREATE TABLE test_gates (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  name TEXT NOT NULL,
  subject TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  exit_code INTEGER,
  approver TEXT,
  retry_of TEXT,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'pending' OR state = 'blocked' OR state = 'running' OR state = 'passed'
    OR state = 'failed' OR state = 'cancelled'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'passed' OR state = 'failed' OR state = 'cancelled')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at))),
  CONSTRAINT passed_has_exit_code_or_approver CHECK (
    state <> 'passed' OR exit_code IS NOT NULL OR approver IS NOT NULL),
  CONSTRAINT failed_has_exit_code_or_reason CHECK (
    state <> 'failed' OR exit_code IS NOT NULL OR coalesce(reason, '') <> '')
) STRICT;

CREATE TABLE circuit_breakers (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  tool TEXT NOT NULL,
  mode TEXT NOT NULL,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'closed' OR state = 'open' OR state = 'half_open'),
  CONSTRAINT ended_has_completed_at CHECK (completed_at IS NULL),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at)))
) STRICT;

CREATE TABLE patch_ledger (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  run_id TEXT,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  created_at REAL NOT NULL,
  started_at REAL,
  completed_at REAL,
  reason TEXT,
  task_id TEXT,
  commit_sha TEXT,
  quarantine_reason TEXT,
  rollback_reason TEXT,
  timers TEXT,
  spec TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  CONSTRAINT state_in_chart CHECK (
    state = 'pending' OR state = 'validating' OR state = 'staged' OR state = 'blocked'
    OR state = 'applied' OR state = 'verified' OR state = 'committed' OR state = 'quarantined'
    OR state = 'rolled_back' OR state = 'expired' OR state = 'superseded' OR state = 'dropped'),
  CONSTRAINT ended_has_completed_at CHECK ((completed_at IS NOT NULL) = (
    state = 'committed' OR state = 'rolled_back' OR state = 'expired' OR state = 'superseded'
    OR state = 'dropped')),
  CONSTRAINT stamps_in_order CHECK (
    (started_at IS NULL OR created_at <= started_at)
    AND (completed_at IS NULL OR completed_at >= coalesce(started_at, created_at))),
  CONSTRAINT quarantined_has_reason CHECK (
    state <> 'quarantined' OR coalesce(quarantine_reason, '') <> ''),
  CONSTRAINT rolled_back_has_reason CHECK (
    state <> 'rolled_back' OR coalesce(rollback_reason, '') <> '')
) STRICT;

-- The actors of users' own kinds.
CREATE TABLE actors (
  n INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  audit_seq INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  timers TEXT,
  value TEXT NOT NULL,
  metadata TEXT NOT NULL,
  UNIQUE (kind, id)
) STRICT;

CREATE TABLE messages (
  id INTEGER PRIMARY KEY,
  target TEXT NOT NULL,
  body TEXT NOT NULL,
  control INTEGER NOT NULL,
  operator TEXT
) STRICT;

CREATE TABLE outbox (
  id INTEGER PRIMARY KEY,
  actor TEXT NOT NULL,
  name TEXT NOT NULL,
  key TEXT NOT NULL,
  payload TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE watches (
  target TEXT NOT NULL,
  watcher TEXT NOT NULL,
  PRIMARY KEY (target, watcher)
) STRICT, WITHOUT ROWID;
