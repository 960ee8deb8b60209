"""One frame of the live view: what a board shows in so many columns and rows. Pure: the same boards
and the same instant give the same frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from rich.text import Text

from runtime.cli.guarding import guard_lines
from runtime.cli.scene import Scene
from runtime.cli.text import STATE_STYLES, brief, counted, one_line, tame
from runtime.view.board import Board, Line, Underway
from runtime.view.told import whole_length

_MARKS = {
    "completed": "✔",
    "passed": "✔",
    "skipped": "↷",
    "cancelled": "∅",
    "failed": "✖",
    "running": "●",
    "validating": "◍",
    "retrying": "↻",
    "blocked": "■",
    "paused": "‖",
}
_ASCII_MARKS = {
    "completed": "+",
    "passed": "+",
    "failed": "x",
    "running": "*",
    "validating": "*",
    "retrying": "~",
    "blocked": "#",
    "paused": "=",
}
# Which workstreams are shown first where not all fit: those that need eyes.
_URGENCY = ("failed", "blocked", "paused", "running", "validating", "ready", "pending")
_WAITING_MAX = 8
_ROWS_A_RUN = 6  # fewer would show nothing of a run: of many runs some are only counted


class Style(msgspec.Struct, frozen=True):
    """What the terminal can show."""

    width: int
    height: int
    unicode: bool = True

    def mark(self, state: str) -> str:
        marks = _MARKS if self.unicode else _ASCII_MARKS
        return marks.get(state, "·" if self.unicode else ".")

    def bar(self, done: int, bad: int, total: int, cells: int) -> Text:
        """How much of it is done, and how much ended badly."""
        full, empty = ("█", "░") if self.unicode else ("#", ".")
        good_cells = cells * done // total if total else 0
        bad_cells = min(cells - good_cells, -(-cells * bad // total)) if total else 0
        rest = cells - good_cells - bad_cells
        return Text.assemble(
            (full * good_cells, "green"), (full * bad_cells, "red"), (empty * rest, "dim")
        )


class Heights:
    """How many rows each section has had: it never gives one back, so that nothing jumps."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}

    def keep(self, section: str, rows: int, bound: int) -> int:
        most = min(bound, max(rows, self._most.get(section, 0)))
        self._most[section] = most
        return most


def frame(
    scene: Scene, style: Style, heights: Heights, now: float, printed: Callable[[Underway], str]
) -> list[Text]:
    """At most `style.height` rows of at most `style.width` columns. `printed` gives the last line
    that a task has printed; of what prints nothing, it is what the scene says that it told."""
    boards = sorted(scene.boards.values(), key=lambda board: board.ended is not None)
    footer = [Text(), _footer(scene)]
    more = len(boards) - max(1, style.height // _ROWS_A_RUN)
    if more > 0:
        boards = boards[:-more]
        footer.insert(0, Text(f"and {more} more runs: `banksman status`", "dim"))

    def said(each: Underway) -> str:
        return printed(each) or scene.said.get(each.id, "")

    rows: list[Text] = []
    left = style.height - len(footer) - len(boards)
    tasks = [t for b in boards for t in b.tasks.values() if t.state != "retrying"]
    working = tasks + [g for b in boards for g in b.gates.values()]
    waiting = list(_guards(scene, now))
    waiting += [text for b in boards for text in _waiting(b, now, scene.guards.parked)]
    for_waiting = min(_WAITING_MAX, max(1, left // 3))
    wait_rows = heights.keep("waiting", len(waiting), for_waiting)
    left -= wait_rows + (1 if wait_rows else 0)
    lines = sum(len(b.lines) for b in boards)
    for_work = max(1, left - min(lines, max(2, left // 2)) - 2)
    work_rows = heights.keep("working", len(working), for_work)
    left -= work_rows + (1 if work_rows else 0)
    per_board = max(1, left // max(1, len(boards)))
    for board in boards:
        rows.append(_head(board, style, now))
        rows += _lines(board, style, per_board, now)
    if work_rows:
        rows.append(Text())
        rows += _padded(_working(working, style, work_rows, now, said), work_rows)
    if wait_rows:
        rows.append(Text())
        rows += _padded(waiting[:wait_rows], wait_rows)
    rows += footer
    for row in rows:
        row.truncate(style.width, overflow="ellipsis" if style.unicode else "crop")
        row.no_wrap = True
    return rows[: style.height]


def _padded(rows: list[Text], height: int) -> list[Text]:
    return rows + [Text()] * (height - len(rows))


def _head(board: Board, style: Style, now: float) -> Text:
    counts = board.totals()
    total = sum(counts.values())
    done, bad = counts.get("completed", 0), counts.get("failed", 0)
    numbers = [f"{done}/{total}"]
    numbers += [
        f"{counts[name]} {name}" for name in ("running", "retrying", "failed") if counts.get(name)
    ]
    head = Text.assemble(
        (board.run_id, "bold"),
        "  ",
        (board.state, _style(board.state)),
        f"  {_took(board.began, board.ended, now)}  ",
    )
    tail = "  " + ", ".join(numbers)
    cells = max(5, min(40, style.width - head.cell_len - len(tail)))
    return head + style.bar(done, bad, total, cells) + Text(tail)


def _lines(board: Board, style: Style, rows: int, now: float) -> list[Text]:
    lines = list(board.lines.values())
    shown = lines
    if len(lines) > rows:
        urgent = sorted(lines, key=_urgency)[: max(0, rows - 1)]
        chosen = {line.id for line in urgent}
        shown = [line for line in lines if line.id in chosen]
    name = max((len(line.name) for line in shown), default=0)
    name = min(name, max(12, style.width // 4))
    found = [_line(line, style, name, board.run_id + "/", now) for line in shown]
    if len(lines) > len(shown):
        rest: dict[str, int] = {}
        for line in lines:
            if line not in shown:
                rest[line.state] = rest.get(line.state, 0) + 1
        states = ", ".join(f"{n} {state}" for state, n in rest.items())
        found.append(Text(f"  and {len(lines) - len(shown)} more: {states}", "dim"))
    return found


def _urgency(line: Line) -> int:
    return _URGENCY.index(line.state) if line.state in _URGENCY else len(_URGENCY)


def _line(line: Line, style: Style, name: int, cut: str, now: float) -> Text:
    done = line.counts.get("completed", 0)
    bad = line.counts.get("failed", 0)
    took = _took(line.began, line.ended, now)
    details = [
        f"{line.counts[state]} {state}"
        for state in ("running", "validating", "retrying", "queued", "blocked", "failed")
        if line.counts.get(state)
    ]
    if line.reason and line.state not in ("running", "completed"):
        details = [brief(line.reason, cut)]
    colour = _style(line.state)
    return Text.assemble(
        "  ",
        (style.mark(line.state), colour),
        f" {_fitted(line.name, name)}  ",
        (f"{line.state:<10}", colour),
        "  ",
        style.bar(done, bad, line.total, 10 if style.width >= 100 else 6),
        f"  {done:>4}/{line.total:<4} {took:>6}  ",
        (", ".join(details), "dim"),
    )


def _working(
    working: list[Underway],
    style: Style,
    rows: int,
    now: float,
    said: Callable[[Underway], str],
) -> list[Text]:
    # The longest first: a row stays where it is until one above it ends.
    working = sorted(working, key=lambda each: (each.since, each.id))
    shown = working if len(working) <= rows else working[: rows - 1]
    names = [_short(each) for each in shown]
    name = min(max(map(len, names), default=0), max(16, style.width * 2 // 5))
    found = []
    for each, short in zip(shown, names, strict=True):
        attempt = f" #{each.attempt}" if each.attempt > 1 else ""
        row = Text.assemble(
            "  ",
            (style.mark(_state(each)), _style(_state(each))),
            f" {_fitted(short, name)}  {_took(each.since, None, now):>6}{attempt:<3}  ",
        )
        if each.worker and style.width >= 100:
            row.append(f"{_slot(each.worker):<10}  ")
        if _state(each) == "paused":
            row.append(f"paused: banksman resume {short}", "yellow")
        else:
            row.append(tame(said(each)), "dim")
        found.append(row)
    if len(working) > len(shown):
        found.append(Text(f"  and {len(working) - len(shown)} more at work", "dim"))
    return found


def _guards(scene: Scene, now: float) -> Iterator[Text]:
    for line in guard_lines(scene.guards, now, narrow=True):
        yield Text("  " + line, "dim" if line.startswith("budget") else "yellow")


def _state(each: Underway) -> str:
    """As a person sees it: what was paused does not go on by itself."""
    return "paused" if each.paused and each.state != "running" else each.state


def _waiting(board: Board, now: float, parked: int) -> Iterator[Text]:
    if board.state == "paused":
        why = f": {one_line(board.reason)}" if board.reason else ""
        yield Text(f"  paused{why}; `banksman resume {board.run_id}` lets it go on", "yellow")
    cut = board.run_id + "/"
    retrying = [t for t in board.tasks.values() if t.state == "retrying"]
    for task in retrying[:2]:
        why = f": {brief(task.reason, cut)}" if task.reason else ""
        yield Text(f"  {_short(task)} tries again after a pause{why}", "yellow")
    counts = board.totals()
    parts = []
    if len(retrying) > 2:
        parts.append(f"{len(retrying) - 2} more between two attempts")
    if (ready := counts.get("queued", 0) - parked) > 0:
        parts.append(f"{ready} ready, waiting for a slot")
    if counts.get("pending"):
        parts.append(f"{counts['pending']} waiting for what they depend on")
    if counts.get("blocked"):
        parts.append(f"{counts['blocked']} blocked")
    if board.reused:
        parts.append(f"{counted(board.reused, 'verdict')} reused: nothing had changed")
    if parts:
        yield Text("  " + ", ".join(parts), "dim")


def _footer(scene: Scene) -> Text:
    if scene.notice:
        return Text(scene.notice, "yellow")
    return Text(f"{scene.hint}; a second terminal has banksman status, why, logs -f", "dim")


def _took(began: float | None, ended: float | None, now: float) -> str:
    return "" if began is None else whole_length(int(max(0.0, (ended or now) - began)))


def _short(each: Underway) -> str:
    return each.id.partition("/")[2]


def _slot(worker: str) -> str:
    return worker.rpartition("worker:")[2]


def _fitted(text: str, width: int) -> str:
    """The text in exactly so many columns; its end tells more than its beginning."""
    if len(text) <= width:
        return text.ljust(width)
    return "~" + text[-(width - 1) :]


def _style(state: str) -> str:
    return STATE_STYLES.get(state, "")
