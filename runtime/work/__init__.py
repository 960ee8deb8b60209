"""Work that is real: the executor port, and what stands behind it on this machine."""

from runtime.work.inline import progress, withdrawn
from runtime.work.limits import Limits
from runtime.work.port import Executor, Report, WorkEffect
from runtime.work.site import output_path
from runtime.work.work import Work, refusal

__all__ = [
    "Executor",
    "Limits",
    "Report",
    "Work",
    "WorkEffect",
    "output_path",
    "progress",
    "refusal",
    "withdrawn",
]
