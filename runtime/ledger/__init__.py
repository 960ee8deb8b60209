"""The git side of the patch ledger: a patch is judged by what it does, where it can do no harm."""

from runtime.ledger.check import Checked, check_patch
from runtime.ledger.policy import BadPolicy, Policy, read_policy
from runtime.ledger.reasons import RULES, Reason, Stage, Verdict
from runtime.ledger.scratch import BaseMissing, GitTrouble, Scratch, git_version, scratch_for

__all__ = [
    "RULES",
    "BadPolicy",
    "BaseMissing",
    "Checked",
    "GitTrouble",
    "Policy",
    "Reason",
    "Scratch",
    "Stage",
    "Verdict",
    "check_patch",
    "git_version",
    "read_policy",
    "scratch_for",
]
