"""The write fence: what stands behind it writes where its plan works and nowhere else."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import spec
from actors.effects import StartProcess
from actors.messages import ProcessExited, ProcessStarted
from runtime import PlanError, Runtime, VirtualClock, open_runtime
from runtime.errors import NotConfined
from runtime.work import fence
from runtime.work.child.proc import descendants, look
from runtime.work.fence import fence_refusal
from tests.runtime.work_kit import PYTHON, UET, Desk, bell, gone, kill, working

_REFUSAL = fence_refusal()
fenced = pytest.mark.skipif(
    _REFUSAL is not None, reason=f"no write fence here: {_REFUSAL and _REFUSAL[0]}"
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Its plan's folder is `plan`; the state directory lies beside it."""
    (tmp_path / "plan").mkdir()
    async with working(tmp_path) as desk:
        desk.work.perform(StartProcess(UET, "local", "process", 60.0, (), "write-fence"))
        desk.uet = await desk.next(ProcessStarted)
        desk.folder = tmp_path / "plan"
        yield desk
        desk.folder = tmp_path


def said(desk: Desk, task: str = "t1") -> str:
    desk.folder, folder = desk.folder.parent, desk.folder
    try:
        return desk.output(task).read_text()
    finally:
        desk.folder = folder


@fenced
async def test_a_command_writes_in_its_plans_folder_and_that_is_on_record(desk: Desk) -> None:
    outcome = await desk.do("sh", "-c", "echo made >file && mkdir -p a/b && touch a/b/c")
    assert (outcome.exit_code, outcome.confinement) == (0, "write-fence")
    assert (desk.folder / "file").read_text() == "made\n"


async def test_without_a_fence_that_is_on_record_too(tmp_path: Path) -> None:
    async with working(tmp_path) as desk:
        await desk.start()
        assert (await desk.do("true")).confinement == "none"


@fenced
@pytest.mark.parametrize(
    "script",
    [
        "touch ../beside",
        "mkdir ../beside",
        "echo x >>../precious",
        "rm -f ../precious",
        "mv ../precious ../gone",
        "chmod 777 ../precious",
        "ln ../precious link && echo x >>link",
        "ln -s ../precious link; echo x >>link",
        "touch /tmp/outside.$$",
        "touch $HOME/outside.$$",
        "mount -o remount,rw /",
        "unshare -Urm sh -c 'mount -o remount,rw,bind / && touch ../beside'",
        "mknod disk b 8 0 || mknod disk b 254 0; head -c 1 disk",
        "name=$(uname -n); echo $name >/proc/sys/kernel/hostname",
        "echo x >../state/output/other",
        "touch ../state/tmp/../other",
    ],
)
async def test_nothing_is_written_outside(desk: Desk, script: str) -> None:
    precious = desk.folder.parent / "precious"
    precious.write_text("kept")
    before = {path.name for path in desk.folder.parent.iterdir()}
    output = {path.name for path in (desk.folder.parent / "state").rglob("*")}
    assert (await desk.do("sh", "-c", script)).exit_code != 0
    assert precious.read_text() == "kept"
    assert {path.name for path in desk.folder.parent.iterdir()} == before
    made = {path.name for path in (desk.folder.parent / "state").rglob("*")} - output
    assert made == {"night-1__build__t1.1.log"}


@fenced
async def test_the_state_directory_is_out_of_reach_also_inside_the_plans_folder(
    desk: Desk,
) -> None:
    folder = desk.folder.parent  # of the plan and of `state`
    script = "touch new && ! touch state/x && ! rm -rf state/output && ! mv state away"
    outcome = await desk.do("sh", "-c", script, base_dir=str(folder))
    assert outcome.exit_code == 0, said(desk)
    assert (folder / "new").exists()
    assert (folder / "state" / "output").is_dir()


@fenced
async def test_the_state_directory_cannot_be_moved_away_with_the_folder_that_it_lies_in(
    tmp_path: Path,
) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    async with working(tmp_path / "deep" / "er") as desk:
        desk.work.perform(StartProcess(UET, "local", "process", 60.0, (), "write-fence"))
        desk.uet = await desk.next(ProcessStarted)
        for script in ("mv deep away", "mv deep/er away"):
            outcome = await desk.do("sh", "-c", script, base_dir=str(tmp_path))
            assert outcome.exit_code != 0
        assert (await desk.do("touch", "deep/er/new", base_dir=str(tmp_path))).exit_code == 0
    assert (tmp_path / "deep" / "er" / "state" / "output").is_dir()


@fenced
async def test_a_working_directory_elsewhere_can_be_written_and_one_in_the_state_directory(
    desk: Desk, tmp_path: Path
) -> None:
    for number, cwd in enumerate((tmp_path / "elsewhere", tmp_path / "state" / "clone"), 1):
        cwd.mkdir()
        outcome = await desk.do("touch", "made", cwd=str(cwd))
        assert outcome.exit_code == 0, said(desk, f"t{number}")
        assert (cwd / "made").exists()


@fenced
async def test_a_link_that_a_command_left_in_the_plans_folder_opens_no_way_out(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "precious").mkdir()
    for number, target in enumerate(("../precious", "../state/output"), 1):
        name = f"sub{number}"
        assert (await desk.do("ln", "-s", target, name)).exit_code == 0
        outcome = await desk.do("touch", "taken", cwd=name)
        assert outcome.exit_code != 0
        assert not (desk.folder / target / "taken").exists()


@fenced
async def test_the_temporary_folder_is_its_own_and_vanishes_with_it(desk: Desk) -> None:
    script = 'test -z "$(ls -A $TMPDIR)" && echo x >$(mktemp) && ls -A $TMPDIR | wc -l'
    for number in (1, 2):
        outcome = await desk.do("sh", "-c", script)
        assert (outcome.exit_code, said(desk, f"t{number}")) == (0, "1\n")
    assert list((desk.folder.parent / "state" / "tmp").iterdir()) == []


@fenced
async def test_proc_and_dev_are_sane_and_the_network_is_untouched(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            "import os, socket, sys; assert os.getpid() == int(os.readlink('/proc/self'));"
            "open('/dev/null', 'w').write('x'); open('/dev/urandom', 'rb').read(8);"
            "assert not os.path.exists('/dev/mem'); os.listdir('/dev/pts');"
            "socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10)"
        )
        outcome = await desk.do(PYTHON, "-I", "-c", code, str(server.getsockname()[1]))
    assert outcome.exit_code == 0, said(desk)


@fenced
async def test_the_owners_socket_cannot_be_reached_from_behind_the_fence(
    desk: Desk, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "state" / "control.sock"))
        server.listen()
        code = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        path = str(tmp_path / "state" / "control.sock")
        assert (await desk.do(PYTHON, "-I", "-c", code, path)).exit_code == 1
    assert "ConnectionRefusedError" in said(desk)


@fenced
async def test_a_command_finds_its_words_stdin_descriptors_and_environment_as_without(
    desk: Desk,
) -> None:
    code = (
        "import os,sys; print(sorted(os.listdir('/proc/self/fd')), sys.stdin.read(), os.getcwd())"
    )
    assert (await desk.do(PYTHON, "-I", "-S", "-c", code, stdin="text")).exit_code == 0
    assert said(desk) == f"['0', '1', '2', '3'] text {desk.folder}\n"
    await desk.do("sh", "-c", "tty; ulimit -c; echo $BANKSMAN_LEASE $MODE", env={"MODE": "fast"})
    assert said(desk, "t2") == "not a tty\n0\n1.2 fast\n"


@fenced
@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("no-such-tool", "-v"), "no-such-tool: not found; install it or fix the plan"),
        (("./plain",), "./plain: not executable; allow it (chmod +x) or fix the plan"),
        (("./text",), "./text: not a program; give it a #! line or name its interpreter"),
        (("./orphan",), "bwrap: execvp ./orphan: No such file or directory"),
    ],
)
async def test_a_command_that_cannot_be_started_says_why(
    desk: Desk, command: tuple[str, ...], error: str
) -> None:
    (desk.folder / "plain").write_text("")
    for name, text in (("text", "hello"), ("orphan", "#!/no/such/interpreter\n")):
        (desk.folder / name).write_text(text)
        (desk.folder / name).chmod(0o755)
    outcome = await desk.do(*command)
    assert (outcome.reason, outcome.error) == ("not_started", error)
    assert (outcome.exit_code, outcome.infrastructure) == (None, False)


@fenced
async def test_an_exit_code_is_the_commands_and_a_signal_is_told_as_a_shell_tells_it(
    desk: Desk,
) -> None:
    assert (await desk.do("sh", "-c", "exit 7")).exit_code == 7
    assert (await desk.do("sh", "-c", "kill -SEGV $$")).exit_code == 128 + signal.SIGSEGV


@fenced
async def test_what_heeds_term_may_clean_up(desk: Desk) -> None:
    async with bell(desk.folder) as rung:
        sleep = f"sh -c 'echo up >{rung.path}; exec sleep 60'"
        begun = await desk.begin("sh", "-c", f"trap 'echo bye; exit 3' TERM; {sleep} & wait")
        await rung.wait()
        desk.withdraw(begun.lease, "cancelled")
        outcome = await desk.ended(begun.lease)
    assert (outcome.reason, outcome.exit_code, outcome.alive) == ("cancelled", 3, False)
    assert said(desk) == "bye\n"


@fenced
async def test_a_callable_works_behind_the_fence_too(desk: Desk) -> None:
    (desk.folder / "fenced_jobs.py").write_text(
        "def write(path):\n    open(path, 'w').close()\n    return 'wrote'\n"
    )
    inside = await desk.do(call="fenced_jobs:write", kwargs={"path": "inside"})
    assert (inside.result, inside.confinement) == ("wrote", "write-fence")
    outside = await desk.do(call="fenced_jobs:write", kwargs={"path": "../outside"})
    assert (outside.reason, outside.confinement) == ("error", "write-fence")
    assert "Read-only file system" in (outside.error or "")


# The daemon is its own session's leader, has no mark of ours left, and no descriptor.
_DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 256)
        bell = os.open(sys.argv[1], os.O_WRONLY)
        os.write(bell, b"up\\n")
        os.close(bell)
        os.execve("/bin/sleep", ["daemon-" + sys.argv[2], "60"], {})
    os._exit(0)
import time
time.sleep(60)
"""


@fenced
async def test_a_daemon_behind_the_fence_dies_also_when_worker_and_keeper_are_killed_at_once(
    desk: Desk,
) -> None:
    assert desk.uet is not None
    worker = look(desk.uet.pid)
    assert worker is not None
    async with bell(desk.folder) as rung:
        await desk.begin(PYTHON, "-I", "-S", "-c", _DAEMON, rung.path, "x")
        await rung.wait()
        below = [process.pid for process in descendants(worker.pid)]
        assert len(below) >= 4  # the fence's two, the command, its daemon
        kill(worker.parent, signal.SIGSTOP)  # so that it is as if both died in one instant
        kill(worker.pid)
        kill(worker.parent)
        assert (await desk.next(ProcessExited)).crashed
    assert all(gone(pid) for pid in below)


@fenced
async def test_a_fence_that_cannot_be_set_up_later_on_is_no_fault_of_the_work(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "bwrap: No permissions to create new namespace"
    broken = desk.folder / "bwrap"
    broken.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(broken))
    outcome = await desk.do("touch", "made")
    assert (outcome.reason, outcome.infrastructure) == ("not_started", True)
    assert outcome.error == f"the write fence could not be set up: {words}"
    assert not (desk.folder / "made").exists()


# --- where there is none --------------------------------------------------------------------------


@pytest.fixture
def no_bwrap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    fence_refusal.cache_clear()
    monkeypatch.setattr(fence.shutil, "which", lambda _name: None)
    yield
    fence_refusal.cache_clear()


async def test_where_no_fence_can_be_raised_nothing_runs_without_one(
    tmp_path: Path, no_bwrap: None
) -> None:
    async with working(tmp_path) as desk:
        desk.work.perform(StartProcess(UET, "local", "process", 60.0, (), "write-fence"))
        exited = await desk.next(ProcessExited)
    assert exited.crashed
    assert exited.reason is not None
    assert exited.reason.startswith("no write fence: bubblewrap (bwrap) is not installed; install")


def plan(folder: Path, *command: str) -> spec.Plan:
    task = spec.Task(command=command)
    return spec.Plan(
        run=spec.Run(name="fenced", base_dir=str(folder)),
        workers={"local": spec.Pool(count=1, sandbox="write-fence")},
        workstreams={"w": spec.Workstream(tasks={"t": task})},
    )


async def test_such_a_plan_is_refused_at_its_submission_with_the_cure(
    tmp_path: Path, no_bwrap: None
) -> None:
    async with open_runtime(tmp_path / ".state", clock=VirtualClock()) as rt:
        with pytest.raises(PlanError) as refused:
            await rt.submit(plan(tmp_path, "true"))
    assert "workers.local.sandbox" in str(refused.value)
    assert "install it (apt install bubblewrap)" in str(refused.value)


async def test_an_owner_whose_own_pool_cannot_be_fenced_is_not_opened(
    tmp_path: Path, no_bwrap: None
) -> None:
    pools = {"local": spec.Pool(sandbox="write-fence")}
    with pytest.raises(NotConfined, match="the pool local cannot be confined here: bubblewrap"):
        async with open_runtime(tmp_path / ".state", pools=pools):
            pass
    assert not (tmp_path / ".state").exists()


def test_a_fence_that_holds_nothing_is_found_out_by_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = tmp_path / "bwrap"
    through.write_text('#!/bin/sh\nwhile [ "$1" != sh ]; do shift; done\nexec "$@"\n')
    through.chmod(0o755)
    monkeypatch.setattr(fence.shutil, "which", lambda _name: str(through))
    fence_refusal.cache_clear()
    try:
        refusal = fence_refusal()
    finally:
        fence_refusal.cache_clear()
    assert refusal is not None
    assert refusal[0].startswith("bubblewrap does not work here")
    assert "unprivileged user namespaces" in refusal[1]


@fenced
async def test_a_run_of_a_fenced_pool_completes_with_its_confinement(tmp_path: Path) -> None:
    async with open_runtime(tmp_path / ".state") as rt:
        run = await rt.submit(plan(tmp_path, "touch", "made"))
        assert await run.wait() == "completed"
        events = [event async for event in _all(rt)]
    assert (tmp_path / "made").exists()
    told = {e["trigger"]: e["metadata"] for e in events if e["entity_type"] == "task"}
    assert told["execution_complete"]["confinement"] == "write-fence"
    assert "confinement" not in told["worker_assigned"]


async def _all(rt: Runtime) -> AsyncIterator[dict[str, Any]]:
    async for event in rt.events(since=0):
        yield event
        if event["seq"] == rt.statistics()["seq"]:
            break
