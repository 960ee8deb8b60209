"""What holds for any plan and any life of its run, whatever fails, crashes or is commanded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from actors import messages as m
from actors import spec
from tests.actors.lives import let_it_end, live, lives, plans, waits_for_a_person
from tests.actors.world import MODULES, World

Life = list[tuple[int, int]]
salts = st.integers(0, 1_000)


def unfinished(world: World) -> list[str]:
    """What of the run is not terminal. Processes and slots may still be on their way."""
    kinds = ("run", "workstream", "task", "test_gate")
    return [
        f"{v.id}: {v.state}"
        for kind in kinds
        for v in world.of(kind)
        if not MODULES[kind].CHART.is_terminal(v.state)
    ]


@settings(max_examples=150, deadline=None)
@given(plans(), lives, salts)
def test_a_run_ends_by_itself_unless_it_waits_for_a_person(
    plan: spec.Plan, life: Life, salt: int
) -> None:
    world = live(plan, life, salt)
    let_it_end(world)
    assert not unfinished(world) or waits_for_a_person(world)
    assert not world.dead
    world.check_counts()


@settings(max_examples=100, deadline=None)
@given(plans(), lives, salts)
def test_a_cancelled_run_leaves_nothing_of_it_unfinished(
    plan: spec.Plan, life: Life, salt: int
) -> None:
    world = live(plan, life, salt)
    world.tell("run:r", m.Cancel("enough", "ann"), control=True)
    world.drive()
    assert unfinished(world) == []
    world.check_counts()
    assert all(slot.state == "shutdown" for slot in world.of("worker"))
    assert all(uet.state == "terminated" for uet in world.of("uet_worker"))
