"""The launcher: a fork that waits, in its own session, for one byte before it becomes a command.

It says `R` when it stands alone and can be put on record. A `g` releases it to exec; end of file,
which is also the death of the worker child, makes it exit instead. So a command that was released
runs once, and one that was not never runs. That exec worked is the end of file of the status pipe.

From the fork to the exec only this file runs: no allocation of anything that outlives it, no locks.
"""

from __future__ import annotations

import os
import signal
from fcntl import F_DUPFD_CLOEXEC, fcntl

from .proc import PR_SET_PDEATHSIG, prctl

READY = b"R"
RELEASE = b"g"
_CLEAR_OF_STANDARD = 10  # below it only the descriptors that the command is to inherit


class Launch:
    """A waiting launcher. `go` takes the release, `status` tells of readiness and failure."""

    __slots__ = ("go", "pid", "status")

    def __init__(
        self,
        argv: list[bytes],
        cwd: bytes,
        env: dict[bytes, bytes],
        given: list[int],
    ) -> None:
        """Forks. `given`: its output, then what becomes descriptors 3, 4, ... Raises OSError."""
        go, self.go = os.pipe()
        self.status, status = os.pipe()
        parent = os.getpid()
        # No handler of this process may run in the fork, so none of its signals may arrive there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(argv, cwd, env, parent, (go, status), given)
        except OSError:
            os.close(self.go)
            os.close(self.status)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(go)
            os.close(status)


def _become(
    argv: list[bytes],
    cwd: bytes,
    env: dict[bytes, bytes],
    parent: int,
    pipes: tuple[int, int],
    given: list[int],
) -> None:
    """The whole life of the launcher: it leaves by exec or by exit, never by return."""
    status, step = pipes[1], "launch"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        go, status = _arrange(pipes, given)
        _reset_signals()
        os.write(status, READY)
        if os.read(go, 1) != RELEASE:
            os._exit(0)
        step = "cwd"
        os.chdir(cwd)
        step = "exec"
        os.execvpe(argv[0], argv, env)
    except BaseException as trouble:  # noqa: BLE001 - whatever it is, this fork must end here
        number = (trouble.errno or 0) if isinstance(trouble, OSError) else 0
        os.write(status, f"{step}:{number}:{trouble}"[:500].encode(errors="replace"))
    finally:
        os._exit(127)


def _arrange(pipes: tuple[int, int], given: list[int]) -> tuple[int, int]:
    """Puts /dev/null on 0, the output on 1 and 2, what is inherited from 3 on; closes the rest."""
    null = os.open("/dev/null", os.O_RDONLY)
    high = [fcntl(fd, F_DUPFD_CLOEXEC, _CLEAR_OF_STANDARD) for fd in (*pipes, null, *given)]
    go, status, null, output, *inherited = high
    targets = (null, output, output, *inherited)
    for target, source in enumerate(targets):
        os.dup2(source, target, inheritable=True)
    # An open copy of the worker child's pipes would hide its death from the supervisor.
    os.closerange(len(targets), go)
    os.closerange(go + 1, status)
    os.closerange(status + 1, os.sysconf("SC_OPEN_MAX"))
    return go, status


def _reset_signals() -> None:
    """A shell's `&` or nohup has us ignore signals; a command would inherit that for ever."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
