"""What a gate makes of the end of its command, and how that bears on its breaker."""

from __future__ import annotations

import msgspec

from actors import spec
from actors.gate_state import Verdict
from actors.guard_messages import CallOutcome
from actors.messages import Outcome

# A machine that cannot run a command three times in a row needs a person.
LOSSES_MAX = 3
RETRY_WAIT_S = 1.0
RETRY_WAIT_S_MAX = 30.0
# The shell's own time around a command: its start, its end, the tree before and after.
MARGIN_S = 120.0
SIGKILL = 9


class Finding(msgspec.Struct, frozen=True):
    """A verdict, and in one line what it rests on."""

    verdict: Verdict
    text: str


def timeout_s(gate: spec.Gate) -> float:
    """How long the gate's command may run."""
    return spec.GATE_TIMEOUT_S if gate.timeout_s is None else gate.timeout_s


def found(gate: spec.Gate, outcome: Outcome) -> Finding:
    """The verdict on one execution. What is no verdict on the work is never a failure, and a
    runner that executed no test has found nothing, whatever it exited with."""
    check = outcome.check
    if outcome.reason == "timeout":
        return Finding(Verdict.TIMEOUT, f"timeout after {timeout_s(gate):g} s")
    if _is_infrastructure(outcome):
        return Finding(Verdict.INFRASTRUCTURE, outcome.why())
    if check is not None and check.tests == 0:
        return Finding(Verdict.INFRASTRUCTURE, f"no test was executed, says {check.judged_by}")
    if outcome.exit_code in gate.expected_exit_codes:
        return Finding(Verdict.PASSED, outcome.why())
    return Finding(Verdict.FAILED, outcome.why())


def _is_infrastructure(outcome: Outcome) -> bool:
    # Nobody but the machine itself kills a gate's command that has time left.
    killed = outcome.signal == SIGKILL
    return outcome.infrastructure or outcome.reason in {"lost", "not_started"} or killed


def bearing(verdict: Verdict | None, outcome: Outcome) -> CallOutcome:
    """What the end of an entity means to its breaker: the gate works if it judged, whatever it
    found. None: it was cancelled."""
    reused = outcome.check is not None and outcome.check.reused_from is not None
    if verdict is None or reused:
        return CallOutcome.CANCELLED
    broken = verdict is Verdict.INFRASTRUCTURE
    return CallOutcome.TOOL_FAILURE if broken else CallOutcome.OK


def lease_s(gate: spec.Gate) -> float:
    """How long an entity may hold its breaker's ticket: all of its tries."""
    return LOSSES_MAX * (timeout_s(gate) + RETRY_WAIT_S_MAX + MARGIN_S)
