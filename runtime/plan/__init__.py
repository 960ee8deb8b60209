"""Plans: read from TOML or taken as values, checked whole before anything starts.

    text ─▶ parse ─▶ read (form) ─▶ rules, graph (sense) ─▶ absent (this machine) ─▶ submission

The format is described in docs/plans.md. Every fault is found in one look, each with its file,
line, place and cure; nothing of a faulty plan is ever begun.
"""

from runtime.plan.absent import absent_tools
from runtime.plan.check import Checked, check
from runtime.plan.fault import Fault, PlanError, Severity, told_once
from runtime.plan.init import PLAN_NAME, PlanExists, first_plan, write_first_plan
from runtime.plan.parse import Loaded, load, load_to_run, validate

__all__ = [
    "PLAN_NAME",
    "Checked",
    "Fault",
    "Loaded",
    "PlanError",
    "PlanExists",
    "Severity",
    "absent_tools",
    "check",
    "first_plan",
    "load",
    "load_to_run",
    "told_once",
    "validate",
    "write_first_plan",
]
