"""A plan handed to a live owner, and followed from here: the owner carries it, whoever leaves."""

from __future__ import annotations

import queue
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from actors.spec import Plan
from runtime.cli.calling import Call
from runtime.cli.exits import Exit, Stop
from runtime.cli.foreground import GUARDS_S, Outcome, look
from runtime.cli.place import connected
from runtime.cli.progress import OWNED, told
from runtime.cli.scene import Scene, Screen
from runtime.cli.summing import conclude
from runtime.control.client import Client, OwnerLost
from runtime.view.audit import head_seq
from runtime.view.board import Board
from runtime.view.rows import RUN_ENDS

_DRAW_S = 0.1
_ASK_S = 2.0  # how often the owner is asked whether only a person can go on


def submit_and_follow(
    call: Call, state_dir: Path, plan: Plan, screen: Screen, *, waits: bool
) -> Exit:
    """Exits as a run of one's own would; Ctrl-C leaves the run to its owner."""
    with closing(connected(state_dir)) as db:
        since = head_seq(db)
    with Client(state_dir) as client:
        run_id = client.ask("submit", plan=msgspec.to_builtins(plan))["run_id"]
    scene = Scene()
    scene.hint = "Ctrl-C leaves the run to its owner"
    scene.watch(Board(run_id))
    screen.say(f"submitted {run_id} to the owner of {state_dir}")
    screen.open(scene)
    try:
        waiting = _follow(state_dir, run_id, since, scene, screen, waits=waits)
    except KeyboardInterrupt:
        screen.close()
        print(f"{run_id} goes on without you: `banksman status {run_id}`", file=sys.stderr)
        return Exit.INTERRUPTED
    screen.close()
    state = scene.boards[run_id].state
    return conclude(call, state_dir, Outcome({run_id: "" if waiting else state}, waiting=waiting))


def _follow(
    state_dir: Path, run_id: str, since: int, scene: Scene, screen: Screen, *, waits: bool
) -> tuple[str, ...]:
    """Returns when the run has ended; or where it waits for a person and nobody is here, itself."""
    events: queue.Queue[Any] = queue.Queue(1_000)
    reader = threading.Thread(
        target=_read, args=(state_dir, run_id, since, events), name="banksman-reader", daemon=True
    )
    reader.start()
    asked = looked = time.monotonic()
    while scene.boards[run_id].state not in RUN_ENDS:
        try:
            event = events.get(timeout=_DRAW_S)
        except queue.Empty:
            event = None
        if isinstance(event, Exception):
            raise event
        if event is not None:
            scene.apply(event)
            screen.event(event)
        if time.monotonic() - looked > GUARDS_S:
            scene.guards, scene.said = look(state_dir, [run_id], told(state_dir, OWNED))
            looked = time.monotonic()
        screen.draw(time.time())
        if not waits and time.monotonic() - asked > _ASK_S:
            asked = time.monotonic()
            with Client(state_dir) as client:
                if run_id in client.ask("waits")["waits_for_person"]:
                    return (run_id,)
    return ()


def _read(state_dir: Path, run_id: str, since: int, events: queue.Queue[Any]) -> None:
    try:
        with Client(state_dir) as client:
            for event in client.stream("events", since=since, where={"run": run_id}):
                events.put(event)
    except OwnerLost:
        cure = "`banksman resume` takes the run over once its owner is gone"
        events.put(Stop(Exit.UNUSABLE, f"the owner of {state_dir} went away", cure, "owner_lost"))
    except Exception as error:  # noqa: BLE001 - handed to the thread that waits for it
        events.put(error)
