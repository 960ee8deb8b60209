"""Every bound of the runtime, each with its reason. Units and MAX last.

A bound that is reached is a clear error (or a visible wait), never a surprise an hour later.
"""

from __future__ import annotations

from typing import Final

# --- a plan ---------------------------------------------------------------------------------------

# tomllib reads about 4 MB a second: a plan of this size is read in five seconds, and holds 150,000
# tasks. More than that is the output of a generator, which should build the plan as a value.
PLAN_BYTES_MAX: Final = 16 * 1024 * 1024

# What the bench proves to fit into 1.5 GiB.
PLAN_TASKS_MAX: Final = 1_000_000

# A run creates its workstreams and gates in one turn: this keeps that turn below a second.
PLAN_WORKSTREAMS_MAX: Final = 10_000
PLAN_GATES_MAX: Final = 1_000

# A slot of a plan's pool is a process with its heartbeat; far more of them than any machine has
# cores would only compete, and each costs 20 MB.
PLAN_SLOTS_MAX: Final = 1_024
PLAN_POOLS_MAX: Final = 256

# run, workstream and task are joined to a file name, with room for the run's unique part, a retry's
# suffix and ".<attempt>.log": 3 * 64 + 50 < 255, the longest name that Linux file systems take.
NAME_CHARS_MAX: Final = 64

# Capabilities, phases, concurrency keys: shown in a column of a terminal.
LABEL_CHARS_MAX: Final = 128

# A join of more goes through a workstream of its own, whose end is one message instead of many.
LIST_ITEMS_MAX: Final = 10_000

# Linux takes no single argument or NAME=value longer than 128 KiB (MAX_ARG_STRLEN); the whole of an
# argv and of an env table is held to the same, since each is stored with its task.
ARGV_BYTES_MAX: Final = 128 * 1024 - 1
ENV_BYTES_MAX: Final = 128 * 1024 - 1

# Linux takes no longer path (PATH_MAX, with its closing NUL).
PATH_BYTES_MAX: Final = 4_095

# kwargs are stored with the task and sent through a worker's pipe as one line.
KWARGS_BYTES_MAX: Final = 256 * 1024
KWARGS_DEPTH_MAX: Final = 32

# The format needs a key of six parts; tomllib takes quadratic time over the parts of one key.
KEY_PARTS_MAX: Final = 64

# Ten years: a longer wait is a slip of the unit, and a clock in float seconds stays exact to 1 us.
SECONDS_MAX: Final = 10 * 366 * 86_400.0

# The smallest wait that a timer keeps apart from none; the kernel's clock counts microseconds.
SECONDS_MIN: Final = 0.001

# A task that needs more is not flaky; each attempt keeps its own output file.
RETRIES_MAX: Final = 10_000

# A run's budget: every task of the largest plan, with a hundred attempts each.
ATTEMPTS_MAX: Final = 100_000_000

# Priorities order tasks of one queue: seven digits are enough to order anything by hand.
PRIORITY_MAX: Final = 1_000_000

# A person mends the first of them; a terminal shows no more.
FAULTS_MAX: Final = 500

# Comparing names for "did you mean" costs 10 us each: half a second in all, whatever the plan.
NAMES_COMPARED_MAX: Final = 50_000

# A folder given to `check`.
PLAN_FILES_MAX: Final = 1_000

# A tool is a program with a name: a plan of more of them is generated.
PLAN_TOOLS_MAX: Final = 1_000

# More executions of one tool at a time than there may be slots mean no bound.
TOOL_CONCURRENCY_MAX: Final = 100_000

# Of a rate limit: it finds one number in one line.
PATTERN_CHARS_MAX: Final = 1_000

# A prompt for stdin is stored with its task and sent through a worker's pipe as one line.
PROMPT_BYTES_MAX: Final = 256 * 1024

# Source of a `call` that is searched for its function before the run.
CALL_SOURCE_BYTES_MAX: Final = 4 * 1024 * 1024

# --- the kernel -----------------------------------------------------------------------------------

# Messages from outside that one actor may have waiting: enough for any burst that a program means;
# past it the sender learns so, instead of the machine running out of memory.
INBOX_SIZE_MAX: Final = 65_536

# Turns that one actor takes before the next in the run queue: a flooded actor delays the others by
# well under a millisecond.
ACTOR_QUANTUM_TURNS: Final = 256

# Turns, and seconds, after which the driver lets the event loop look at its sockets and pipes.
SLICE_TURNS: Final = 8_192
SLICE_S: Final = 0.01

# Turns between two looks at the clock: their events carry one instant, well below a millisecond.
LOOK_TURNS: Final = 64

# Actors in memory above which tasks and users' actors that merely wait stay in the store, until
# a message comes: about 150 MB. A run of a hundred thousand tasks pays nothing.
CELLS_MAX: Final = 120_000

# Actors read back from the store in one go: a page of a few megabytes.
READ_BACK_MAX: Final = 1_024

# Actors that wait to be read back, above which no more turns are taken until some are.
ABSENT_MAX: Final = 4_096

# Actors from the backlog that begin one chain of messages: enough that a commit is worth its sync,
# few enough that the next chain is taken while it syncs.
CHAIN_ACTORS: Final = 64

# Turns of one chain after which what it made ready goes behind the backlog: two actors that never
# stop answering each other keep nobody waiting for more than some ten milliseconds.
CHAIN_TURNS_MAX: Final = 8_192

# Audit rows of an open epoch that make it worth a commit at the end of a chain, though more waits.
EPOCH_ROWS_READY: Final = 512

# Audit rows of an open epoch past which no more turns are taken until the one in flight is
# committed: bounds memory and the longest transaction (about a quarter of a second).
EPOCH_ROWS_MAX: Final = 16_384

# Messages that an open epoch remembers, past which likewise no more turns are taken: a chain need
# not leave audit rows, and while the disk is full no epoch is committed for hours.
EPOCH_INPUTS_MAX: Final = 65_536

# Different messages in a row whose turn raised: the actor is broken, not the message.
ACTOR_FAILURES_MAX: Final = 3

# Of the text of an exception that goes on record: what a person reads of it.
CAUSE_CHARS_MAX: Final = 2_000

# Dead letters kept in memory for a look; each also stands in the audit of its actor.
DEAD_LETTERS_KEPT_MAX: Final = 1_000

# Between two tries to commit while the disk is full: soon enough for a person who made room.
DISK_RETRY_S: Final = 1.0

# Tries to commit that a closing owner still makes while the disk is full: what is not committed by
# then was told to nobody, and whoever has asked twice for an end does not wait for a minute.
CLOSING_TRIES_MAX: Final = 3

# Events that a subscriber may lag behind before it is ended: the kernel neither waits nor grows.
EVENTS_QUEUE_MAX: Final = 10_000

# For the outcome of an operator's command or a submission: a commit that takes longer is a disk in
# trouble, and the answer then is that the outcome is unknown.
COMMAND_TIMEOUT_S: Final = 60.0

# --- the operator's hand ------------------------------------------------------------------------

# A tool that does not say within this that it works does not work well enough.
HEALTH_TIMEOUT_S: Final = 30.0

# Of what a health command prints: its end says what is wrong.
HEALTH_OUTPUT_BYTES_MAX: Final = 4 * 1024

# Of a file that is shown as evidence: so much of its beginning and its end; the digest is of all.
EVIDENCE_EDGE_BYTES_MAX: Final = 64 * 1024

# Of it, what is quoted in the audit itself.
EVIDENCE_QUOTED_CHARS_MAX: Final = 2_000

# --- what counts as stuck -----------------------------------------------------------------------

# Where neither the plan nor the past says how long something takes.
STUCK_DEFAULT_S: Final = 1_800.0

# In a queue, blocked, or parked: longer than this it is worth a look.
STUCK_WAIT_S: Final = 300.0

# A process that comes up does so well within this.
STUCK_START_S: Final = 30.0

# A person has other things to do, too.
STUCK_PERSON_S: Final = 3_600.0

# So many times the 95th percentile of what the same name took in so many runs, if there are enough.
STUCK_FACTOR: Final = 3.0
STUCK_HISTORY_RUNS: Final = 50
STUCK_HISTORY_MIN: Final = 3

# Of each state, looked at: a terminal shows no more, and there may be a million in the queue.
STUCK_LISTED_MAX: Final = 100

# --- the control socket -------------------------------------------------------------------------

CONTROL_LINE_BYTES_MAX = 4 * PLAN_BYTES_MAX
"""A submitted plan is one line, and JSON spells out what TOML says in fewer bytes."""

CONTROL_CLIENTS_MAX = 64
"""Terminals and scripts of one person; each may hold one line in memory."""

CONTROL_IDLE_S_MAX = 300.0
"""A client that says nothing for so long gives its place back."""

CONTROL_SEND_S_MAX = 10.0
"""A client that reads nothing for so long is dropped: an event waits for nobody."""

CONTROL_ANSWER_S_MAX = 60.0
"""A client's patience with its owner: one that is busy for longer is not well."""

# Callables of this process that run at once, unless a pool says otherwise: async ones mostly wait,
# so cores are not their measure; sync ones take a thread each.
INLINE_SLOTS: Final = 32

# The owner's log: a few lines a run, so this is years; past it, one old file is kept.
LOG_BYTES_MAX: Final = 8 * 1024 * 1024

# Between the end of intake and the end of the event loop: what still runs is killed after this.
CLOSE_TIMEOUT_S: Final = 60.0

# Rows that are read for the verdict of a key, from the newest on: 30 ms. Older ones are run again.
VERDICTS_LOOKED_AT_MAX: Final = 10_000

# --- a foreground run ---------------------------------------------------------------------------

RUN_DRAIN_S_MAX = 86_400.0
"""After one Ctrl-C: what runs may finish within a day. A second Ctrl-C does not wait."""
