"""The launcher: a fork that waits, in its own session, for one byte before it becomes a command.

It says `R` when it stands alone and can be put on record. A `g` releases it to exec; end of file,
which is also the death of the worker child, makes it exit instead. So a command that was released
runs once, and one that was not never runs. That exec worked is the end of file of the status pipe.

From the fork to the exec only this file runs: no allocation of anything that outlives it, no locks.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
from fcntl import F_DUPFD_CLOEXEC, fcntl

from .proc import PR_SET_PDEATHSIG, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` alone would cost the child a third of its start
    from .order import Order

READY = b"R"
RELEASE = b"g"
_CLEAR_OF_STANDARD = 10  # below it only the descriptors that the command is to inherit


class Launch:
    """A waiting launcher. `go` takes the release, `status` tells of readiness and failure."""

    __slots__ = ("go", "pid", "status")

    def __init__(self, order: Order, given: list[int]) -> None:
        """Forks. `given`: its input, its output, then what becomes descriptors 3, 4, ...; with a
        fence the last of these takes the fence's own word. Raises OSError."""
        go, self.go = os.pipe()
        self.status, status = os.pipe()
        parent = os.getpid()
        # No handler of this process may run in the fork, so none of its signals may arrive there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(order, parent, (go, status), given)
        except OSError:
            os.close(self.go)
            os.close(self.status)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(go)
            os.close(status)


def _become(order: Order, parent: int, pipes: tuple[int, int], given: list[int]) -> None:
    """The whole life of the launcher: it leaves by exec or by exit, never by return."""
    status, step = pipes[1], "launch"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
        go, status = _arrange(pipes, given)
        _reset_signals()
        _limit(order.files_max)
        os.write(status, READY)
        if os.read(go, 1) != RELEASE:
            os._exit(0)
        step = "cwd"
        os.chdir(order.cwd)
        step = "exec"
        if order.fence:
            _find(order.argv[0], order.env)
            step = "fence"
            said = str(len(given)).encode()  # `given` is 0, 1 (and 2), 3, ...
            argv = [*order.fence, b"--json-status-fd", said, b"--", *order.argv]
            os.execve(argv[0], argv, order.env)
        os.execvpe(order.argv[0], order.argv, order.env)
    except BaseException as trouble:  # noqa: BLE001 - whatever it is, this fork must end here
        number = (trouble.errno or 0) if isinstance(trouble, OSError) else 0
        os.write(status, f"{step}:{number}:{trouble}"[:500].encode(errors="replace"))
    finally:
        os._exit(127)


def _arrange(pipes: tuple[int, int], given: list[int]) -> tuple[int, int]:
    """Puts the input on 0, the output on 1 and 2, what is inherited from 3 on; closes the rest."""
    high = [fcntl(fd, F_DUPFD_CLOEXEC, _CLEAR_OF_STANDARD) for fd in (*pipes, *given)]
    go, status, source_of_input, output, *inherited = high
    targets = (source_of_input, output, output, *inherited)
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


def _limit(files_max: int) -> None:
    """No core dumps; not more open files than programs can bear."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > files_max:
        hard = files_max
    soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _find(program: bytes, env: dict[bytes, bytes]) -> None:
    """Raises what an exec of `program` would: behind a fence nobody could tell it from a failure of
    the fence."""
    folders = [b""] if b"/" in program else env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
    seen = errno.ENOENT
    for folder in folders:
        path = os.path.join(folder, program)
        if not os.path.lexists(path):
            continue
        if not os.path.isfile(path) or not os.access(path, os.X_OK):
            seen = errno.EACCES if os.path.exists(path) else errno.ENOENT
            continue
        try:
            with open(path, "rb") as file:
                begin = file.read(128)
        except PermissionError:
            return  # may be run, though not read
        if not begin.startswith(b"#!") and b"\0" not in begin:
            raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC))
        return
    raise OSError(seen, os.strerror(seen))
