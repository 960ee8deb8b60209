"""What an entity waits for, as counts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors import waits
from actors.messages import GateVerdict, Standing
from actors.waits import CAUSES_MAX, Waits

A, B = "task:r/w/a", "task:r/w/b"
BAD = (Standing.FAILED, Standing.WITHDRAWN, Standing.STALLED)


def moved(
    waiting: Waits, source: str, standing: Standing, was: Standing = Standing.WAITING
) -> Waits:
    return waits.moved(waiting, source, was, standing, f"{source} is {standing}")


def test_nothing_to_wait_for_is_done() -> None:
    assert Waits().standing is Standing.DONE


def test_it_is_done_once_every_source_is() -> None:
    one = moved(Waits(2), A, Standing.DONE)
    assert one.standing is Standing.WAITING
    assert moved(one, B, Standing.DONE).standing is Standing.DONE


def test_a_bad_source_blocks_and_names_its_cause() -> None:
    for standing in BAD:
        blocked = moved(Waits(1), A, standing)
        assert blocked.blocked
        assert blocked.standing is standing
        assert blocked.root() == f"{A} is {standing}"


def test_the_worst_of_several_causes_counts() -> None:
    blocked = moved(moved(Waits(2), A, Standing.STALLED), B, Standing.FAILED)
    assert blocked.standing is Standing.FAILED
    assert blocked.root() == f"{B} is failed"


def test_a_source_that_comes_back_unblocks() -> None:
    blocked = moved(Waits(1), A, Standing.STALLED)
    free = moved(blocked, A, Standing.WAITING, was=Standing.STALLED)
    assert not free.blocked
    assert free == Waits(1)


def test_a_source_that_is_undone_is_waited_for_again() -> None:
    done = moved(Waits(1), A, Standing.DONE)
    assert waits.replaced(done, A, f"{A}~2", Standing.DONE) == Waits(1)


def test_a_waived_cause_counts_as_done() -> None:
    blocked = moved(moved(Waits(2), A, Standing.FAILED), B, Standing.FAILED)
    free, names = waits.waive(blocked, ("a",))
    assert names == (A,)
    assert (free.open, free.failed) == (1, 1)


def test_waiving_without_names_waives_every_cause() -> None:
    blocked = moved(moved(Waits(2), A, Standing.FAILED), B, Standing.STALLED)
    free, names = waits.waive(blocked, ())
    assert set(names) == {A, B}
    assert free.standing is Standing.DONE


def test_what_a_waived_source_says_later_changes_nothing() -> None:
    free, _ = waits.waive(moved(Waits(1), A, Standing.STALLED), ())
    assert moved(free, A, Standing.FAILED, was=Standing.STALLED) is free


def test_what_an_operator_blocked_and_waived_he_can_block_again() -> None:
    hand = ("operator:ann", Standing.DONE, Standing.STALLED, "hold it")
    freed, _ = waits.waive(waits.moved(Waits(), *hand), ())
    assert not freed.blocked
    again = waits.moved(freed, *hand)
    assert again.root() == "hold it"
    assert waits.waive(again, ())[0].standing is Standing.DONE


def test_the_retry_of_a_waived_source_is_waived_too() -> None:
    free, _ = waits.waive(moved(Waits(1), A, Standing.FAILED), ())
    retried = waits.replaced(free, A, f"{A}~2", Standing.FAILED)
    assert moved(retried, f"{A}~2", Standing.DONE).open == 0


def test_a_cause_is_known_by_address_id_end_of_it_and_plain_name() -> None:
    gate = "test_gate:r/gate:lint~2"
    for source, name in (
        (A, A),
        (A, "r/w/a"),
        (A, "w/a"),
        (A, "a"),
        (f"{A}~2", "a"),
        (gate, "lint"),
        (gate, "gate:lint~2"),
    ):
        _, names = waits.waive(moved(Waits(1), source, Standing.FAILED), (name,))
        assert names == (source,), name


def test_no_cause_has_the_name_of_a_part_of_it() -> None:
    blocked = moved(Waits(1), A, Standing.FAILED)
    for name in ("task", "r", "w", "", "b", "~2"):
        assert waits.waive(blocked, (name,)) == (blocked, ())


def test_causes_are_kept_by_name_up_to_a_bound_and_counted_beyond() -> None:
    waiting = Waits(200)
    for n in range(200):
        waiting = moved(waiting, f"task:r/w/t{n}", Standing.FAILED)
    assert waiting.failed == 200
    assert len(waiting.causes) == CAUSES_MAX


def test_a_gate_that_is_run_again_takes_the_place_of_the_old_one() -> None:
    old, new = "test_gate:r/gate:g~1", "test_gate:r/gate:g~2"
    blocked = moved(Waits(1), old, Standing.FAILED)
    said = GateVerdict(new, "g", "pending", Standing.WAITING, Standing.FAILED, replaces=old)
    assert waits.judged(blocked, said) == Waits(1)


def test_the_worse_of_two_is_the_one_that_says_more() -> None:
    failed, stalled = moved(Waits(1), A, Standing.FAILED), moved(Waits(1), B, Standing.STALLED)
    assert waits.worst(stalled, failed) is failed
    assert waits.worst(failed, Waits()) is failed
    assert waits.worst(Waits(), Waits(1)) == Waits(1)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Standing)), max_size=30))
def test_counts_always_agree_with_what_each_source_last_said(
    said: list[tuple[int, Standing]],
) -> None:
    now = [Standing.WAITING] * 4
    waiting = Waits(4)
    for source, standing in said:
        waiting = moved(waiting, f"task:r/w/t{source}", standing, was=now[source])
        now[source] = standing
    assert waiting.open == sum(s is not Standing.DONE for s in now)
    assert waiting.failed == now.count(Standing.FAILED)
    assert waiting.withdrawn == now.count(Standing.WITHDRAWN)
    assert waiting.stalled == now.count(Standing.STALLED)
    assert {c.source for c in waiting.causes} == {
        f"task:r/w/t{n}" for n, standing in enumerate(now) if standing in BAD
    }
