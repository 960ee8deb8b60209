"""A recorded run as text, as JSON lines, as a diagram and as a page."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from runtime.sim import Sim, worlds
from runtime.sim.case import Case, Config, Failure, Happening, Result
from runtime.sim.compare import chain
from runtime.sim.html import page
from runtime.sim.scenario import Scenario
from runtime.sim.trace import clock, columns, json_lines, length, mermaid, plain, read_lines

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\u202e"


def a_run(name: str = "task:r/w/t", count: int = 3) -> Result:
    happenings = [
        Happening(1, 0.0, "run:r", "Begin", "order/run:r/1", effects=("Send(task)",)),
        Happening(2, 1.5, "owner", "crash", "fault.crash/owner/1", "in the commit", fault=True),
        *(
            Happening(
                n, 842.25, name, "Assigned", "", "", (("queued", "running", "go"),), (), (1, 2)
            )
            for n in range(3, count + 1)
        ),
    ]
    failure = Failure("one-lease", "two leases at once", "two", 842.25, count)
    case = Case("x.py::test_x", 17, Config("pos"))
    return Result(case, failure, "ff", count, 842.25, {}, happenings=tuple(happenings))


def test_columns_have_a_line_for_each_event_with_what_came_of_it() -> None:
    lines = list(columns(a_run()))
    assert len([line for line in lines if line.lstrip().startswith("#")]) == 3
    assert "00:14:02.250" in lines[3]
    assert "queued > running (go)" in lines[3]
    assert "<- #1 #2" in lines[3]


def test_columns_mark_faults_and_the_violation() -> None:
    lines = list(columns(a_run()))
    assert "! owner" in lines[2]
    assert "X task:r/w/t" in lines[3]
    assert lines[-1] == "one-lease: two leases at once"


def test_a_hostile_name_stays_on_its_line_and_moves_no_cursor() -> None:
    lines = list(columns(a_run("task:a\n#  9  forged\x1b[2J")))
    assert len(lines) == 6
    assert not re.search("[\x00-\x1f]", "".join(lines))


def test_json_lines_read_back_are_the_same_events() -> None:
    run = a_run()
    lines = list(json_lines(run))
    assert tuple(read_lines(lines)) == run.happenings
    assert json.loads(lines[-1])["case"]["seed"] == 17


def test_a_diagram_has_a_lane_for_each_actor_and_an_arrow_from_the_latest_cause() -> None:
    lines = list(mermaid(a_run()))
    assert lines[0] == "sequenceDiagram"
    assert "    participant a2 as task#58;r/w/t" in lines
    assert "    a1->>a2: #3 Assigned" in lines
    assert any("FAULT crash in the commit" in line for line in lines)
    assert any("BROKEN one-lease" in line for line in lines)


def test_a_hostile_name_does_not_leave_its_label_in_a_diagram() -> None:
    label = next(line for line in mermaid(a_run(HOSTILE)) if "participant a2" in line)
    assert not set(label.split(" as ")[1].replace("#lt;", "").replace("#gt;", "")) & set('<>:\n"')


def test_a_long_diagram_says_how_many_events_it_leaves_out() -> None:
    lines = list(mermaid(a_run(count=50), events_max=10))
    assert any("40 earlier events are left out" in line for line in lines)


def recorded(broken: bool) -> Result:
    def scenario(sim: Sim) -> None:
        worlds.pipeline(tasks=2, workers=1)(sim)
        if broken:
            sim.always("nothing completes", lambda v: "completed" not in v.states("task").values())

    return Scenario("test:trace", scenario).run(Case("test:trace", 0, Config("fifo")), record=True)


def test_a_trace_has_every_turn_also_those_of_the_kernels_own_actors() -> None:
    actors = {happening.actor for happening in recorded(broken=False).happenings}
    assert {"dispatch:main", "creator:main", "store", "owner"} <= actors


def test_every_turn_but_those_that_a_client_asked_for_has_a_cause_that_came_before_it() -> None:
    run = recorded(broken=False)
    without = {h.what for h in run.happenings if not h.causes}
    assert without <= {"boot", "Create", "commit"}
    assert all(cause < h.n for h in run.happenings for cause in h.causes)


def test_the_way_back_from_a_violation_ends_with_the_submission() -> None:
    run = recorded(broken=True)
    assert run.failure is not None
    assert chain(run.happenings, run.failure.n)[0].what == "Create"


def data_of(html: str) -> dict[str, object]:
    found = re.search('<script id="run" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    read: dict[str, object] = json.loads(found[1])
    return read


def test_the_page_holds_every_event_the_verdict_and_the_steps() -> None:
    told = data_of(page(a_run(), steps=("the owner dies",), replay="banksman simulate x"))
    assert len(told["events"]) == 3  # type: ignore[arg-type]
    assert told["broken"] == 3
    assert told["steps"] == ["the owner dies"]
    assert ["replay", "banksman simulate x"] in told["facts"]  # type: ignore[operator]


def test_the_page_loads_nothing_from_elsewhere_and_forbids_itself_to() -> None:
    html = page(a_run())
    assert "default-src 'none'" in html
    assert not re.search(r'(?:src|href)\s*=\s*"|url\((?!#)|@import|fetch\(', html)


@pytest.mark.parametrize("hostile", [HOSTILE, "__DATA__ __PLAIN__ __TITLE__", "&lt;b&gt;"])
def test_a_hostile_name_is_text_on_the_page(hostile: str) -> None:
    run = a_run(hostile)
    run.case = msgspec.structs.replace(run.case, scenario=hostile)
    html = page(run, steps=(hostile,), replay=hostile)
    assert html.count("<script") == 2
    assert "<img" not in html
    assert data_of(html)["events"][2]["actor"] == plain(hostile)  # type: ignore[index]


def test_of_a_long_run_the_page_shows_the_end_and_says_so() -> None:
    told = data_of(page(a_run(count=4_000)))
    assert told["left_out"] == 1_000
    assert told["broken"] == 4_000


def test_a_run_that_passes_has_a_page_too() -> None:
    run = a_run()
    run.failure = None
    assert data_of(page(run))["verdict"] == "nothing is broken"


def test_times_and_lengths_are_told_in_fitting_units() -> None:
    assert clock(842.25) == "00:14:02.250"
    assert clock(90_000) == "1d 01:00:00.000"
    assert [length(s) for s in (0.0032, 17, 18_360, 31_557_600 * 3)] == [
        "3.2 ms",
        "17.0 s",
        "5.1 hours",
        "3.0 years",
    ]
