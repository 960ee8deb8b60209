"""A command that leaves evidence: `evidence.py FOLDER TASK HOLD_S`.

It appends "start LEASE TASK PID" and "stop LEASE TASK PID" to FOLDER/evidence, each in one write,
and holds a lock of its task's own meanwhile, so that two executions at once are seen and recorded.
"""

import fcntl
import os
import select
import sys


def note(folder: str, what: str, task: str) -> None:
    line = f"{what} {os.environ['BANKSMAN_LEASE']} {task} {os.getpid()}\n"
    out = os.open(f"{folder}/evidence", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(out, line.encode())
    os.close(out)


def main(folder: str, task: str, hold_s: str) -> None:
    lock = os.open(f"{folder}/{task}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        note(folder, "overlap", task)
        sys.exit(70)
    note(folder, "start", task)
    select.select([], [], [], float(hold_s))
    note(folder, "stop", task)


main(*sys.argv[1:])
