"""The cases: what the kernel relies on of an executor, one fact each, in the words of the port.

offer, lease, heartbeat with details, cancel, result, lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from actors.effects import Release, StopProcess, Withdraw
from actors.messages import Heartbeat, Launched, ProcessExited, WorkEnded
from tests.runtime.port_kit.port import Bench, Facts, Job

UET = "uet_worker:worker:local.1@1"
OTHER = "uet_worker:worker:local.2@1"
Case = Callable[[Bench], Awaitable[None]]
CASES: dict[str, Case] = {}
NEEDS: dict[str, tuple[str, ...]] = {}


def case(*needs: str) -> Callable[[Case], Case]:
    """Enters a case under its name; `needs` are the `Facts` without which it says nothing."""

    def enter(function: Case) -> Case:
        CASES[function.__name__] = function
        NEEDS[function.__name__] = needs
        return function

    return enter


def lacking(facts: Facts, name: str) -> list[str]:
    """The facts that this case needs and that the engine does not have."""
    return [need for need in NEEDS[name] if not getattr(facts, need)]


# --- offer and lease ------------------------------------------------------------------------------


@case()
async def a_worker_that_is_started_says_so_once(bench: Bench) -> None:
    started = await bench.start(UET)
    assert started.boot_id
    await bench.settled()
    assert bench.reports == []


@case()
async def work_that_is_offered_ends_once_with_its_result(bench: Bench) -> None:
    await bench.start(UET)
    outcome = await bench.do(UET, bench.engine.succeeds())
    assert (outcome.reason, outcome.infrastructure, outcome.alive) == (None, False, False)
    assert outcome.exit_code in (0, None)
    assert outcome.duration_s >= 0.0
    await bench.settled()
    assert bench.told(WorkEnded, UET) == []


@case()
async def work_that_fails_is_no_fault_of_the_machine_and_has_a_signature(bench: Bench) -> None:
    await bench.start(UET)
    first = await bench.do(UET, bench.engine.fails())
    second = await bench.do(UET, bench.engine.fails())
    assert (first.exit_code not in (0, None)) or first.reason == "error"
    assert not first.infrastructure
    assert first.signature is not None
    assert first.signature == second.signature


@case()
async def work_that_succeeds_has_no_signature(bench: Bench) -> None:
    await bench.start(UET)
    assert (await bench.do(UET, bench.engine.succeeds())).signature is None


@case()
async def work_that_is_not_there_was_not_started_and_says_why(bench: Bench) -> None:
    await bench.start(UET)
    outcome = await bench.do(UET, bench.engine.absent())
    assert (outcome.reason, outcome.infrastructure) == ("not_started", False)
    assert outcome.error


@case()
async def each_outcome_says_what_stood_around_the_work(bench: Bench) -> None:
    await bench.start(UET)
    assert (await bench.do(UET, bench.engine.succeeds())).confinement == "none"
    assert (await bench.do(UET, bench.engine.fails())).confinement == "none"


@case()
async def one_lease_after_another_goes_through_one_worker(bench: Bench) -> None:
    await bench.start(UET)
    for job in (bench.engine.succeeds(), bench.engine.fails(), bench.engine.succeeds()):
        await bench.do(UET, job)
    assert bench.reports == []


@case()
async def two_workers_work_at_once(bench: Bench) -> None:
    await bench.start(UET)
    await bench.start(OTHER)
    first = await bench.begin(UET, bench.engine.waits("a"))
    second = await bench.begin(OTHER, bench.engine.waits("b"))
    await bench.engine.begun("a")
    await bench.engine.begun("b")
    bench.engine.let_go("b")
    assert (await bench.ended(OTHER, second)).reason is None
    bench.engine.let_go("a")
    assert (await bench.ended(UET, first)).reason is None


@case()
async def an_offer_to_a_worker_that_is_gone_is_lost_at_once(bench: Bench) -> None:
    await bench.start(UET)
    await bench.stop(UET)
    outcome = await bench.ended(UET, bench.offer(UET, bench.engine.succeeds()))
    assert (outcome.reason, outcome.infrastructure) == ("lost", True)


@case("launches")
async def nothing_runs_before_its_release(bench: Bench) -> None:
    await bench.start(UET)
    lease = bench.offer(UET, bench.engine.waits("a"))
    launched = await bench.next(Launched, UET)
    assert launched.lease == lease
    assert launched.pid > 0
    bench.withdraw(UET, lease, "cancelled")
    outcome = await bench.ended(UET, lease)
    assert (outcome.reason, outcome.exit_code) == ("cancelled", None)
    assert not bench.engine.runs("a")


@case("launches")
async def a_release_of_another_lease_releases_nothing(bench: Bench) -> None:
    await bench.start(UET)
    first = await bench.begin(UET, bench.engine.succeeds())
    await bench.ended(UET, first)
    second = bench.offer(UET, bench.engine.succeeds())
    await bench.next(Launched, UET)
    bench.executor.perform(Release(UET, first))
    await bench.settled()
    assert bench.told(WorkEnded, UET) == []
    bench.executor.perform(Release(UET, second))
    assert (await bench.ended(UET, second)).reason is None


@case()
async def text_that_no_system_takes_is_refused_and_harms_nobody(bench: Bench) -> None:
    await bench.start(UET)
    lease = bench.offer(UET, Job(command=("echo", "\ud800"), call=None))
    assert (await bench.ended(UET, lease)).reason == "not_started"
    assert (await bench.do(UET, bench.engine.succeeds())).reason is None


# --- heartbeat with details -----------------------------------------------------------------------


@case("beats")
async def an_idle_worker_says_that_it_lives(bench: Bench) -> None:
    await bench.start(UET, heartbeat_s=0.05)
    for _ in range(3):
        assert (await bench.next(Heartbeat, UET)).lease is None


@case("beats")
async def a_busy_worker_says_for_which_lease_it_lives(bench: Bench) -> None:
    await bench.start(UET, heartbeat_s=0.05)
    lease = await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.reports.clear()
    await bench.next(Heartbeat, UET)
    assert (await bench.next(Heartbeat, UET)).lease == lease
    bench.engine.let_go("a")
    await bench.ended(UET, lease)


@case()
async def the_details_of_running_work_are_there_for_who_looks_and_go_with_it(bench: Bench) -> None:
    await bench.start(UET, heartbeat_s=0.05)
    lease = await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    await bench.until(lambda: bench.executor.progress.get(lease) == "a")
    bench.engine.let_go("a")
    await bench.ended(UET, lease)
    assert lease not in bench.executor.progress


@case()
async def details_are_one_bounded_line(bench: Bench) -> None:
    await bench.start(UET, heartbeat_s=0.05)
    name = "x" * 3000
    lease = await bench.begin(UET, bench.engine.waits(name))
    await bench.engine.begun(name)
    await bench.until(lambda: lease in bench.executor.progress)
    said = bench.executor.progress[lease]
    assert len(said) <= 200
    assert set(said) == {"x"}
    bench.withdraw(UET, lease, "cancelled")
    await bench.ended(UET, lease)


# --- cancel ---------------------------------------------------------------------------------------


@case()
async def withdrawn_work_ends_with_the_reason_and_is_dead_by_then(bench: Bench) -> None:
    await bench.start(UET)
    lease = await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.withdraw(UET, lease, "timeout")
    outcome = await bench.ended(UET, lease)
    assert (outcome.reason, outcome.alive, outcome.infrastructure) == ("timeout", False, False)
    assert not bench.engine.runs("a")


@case()
async def an_offer_that_is_withdrawn_at_once_ends_once(bench: Bench) -> None:
    await bench.start(UET)
    lease = bench.offer(UET, bench.engine.waits("a"))
    bench.withdraw(UET, lease, "cancelled")
    assert (await bench.ended(UET, lease)).reason == "cancelled"
    await bench.settled()
    assert bench.told(WorkEnded, UET) == []
    assert not bench.engine.runs("a")


@case()
async def a_second_withdrawal_does_not_change_the_reason(bench: Bench) -> None:
    await bench.start(UET)
    lease = await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.withdraw(UET, lease, "timeout")
    bench.withdraw(UET, lease, "cancelled")
    assert (await bench.ended(UET, lease)).reason == "timeout"
    await bench.settled()
    assert bench.told(WorkEnded, UET) == []


@case()
async def a_late_withdrawal_does_not_touch_the_next_lease(bench: Bench) -> None:
    await bench.start(UET)
    first = await bench.begin(UET, bench.engine.succeeds())
    await bench.ended(UET, first)
    second = await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.withdraw(UET, first, "timeout")
    bench.engine.let_go("a")
    assert (await bench.ended(UET, second)).reason is None


@case()
async def a_withdrawal_of_a_worker_that_is_gone_says_nothing(bench: Bench) -> None:
    await bench.start(UET)
    await bench.stop(UET)
    bench.withdraw(UET, "1.99", "cancelled")
    await bench.settled()
    assert bench.reports == []


@case("can_kill")
async def work_that_does_not_heed_its_withdrawal_is_killed_in_time(bench: Bench) -> None:
    await bench.start(UET)
    lease = await bench.begin(UET, bench.engine.deaf("a"))
    await bench.engine.begun("a")
    bench.withdraw(UET, lease, "timeout", kill_timeout_s=0.6)
    outcome = await bench.ended(UET, lease)
    assert (outcome.reason, outcome.alive) == ("timeout", False)
    assert not bench.engine.runs("a")


@case()
async def what_outlives_the_kill_timeout_is_told_alive_and_never_as_dead(bench: Bench) -> None:
    await bench.start(UET)
    lease = await bench.begin(UET, bench.engine.deaf("a"))
    await bench.engine.begun("a")
    bench.withdraw(UET, lease, "timeout", kill_timeout_s=0.0)  # no time at all
    outcome = await bench.ended(UET, lease)
    assert (outcome.reason, outcome.alive) == ("timeout", True)
    assert outcome.error
    bench.engine.let_go("a")


# --- lost -----------------------------------------------------------------------------------------


@case("can_lose")
async def a_worker_that_is_lost_says_so_last_and_all_it_ran_is_dead(bench: Bench) -> None:
    started = await bench.start(UET)
    await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.engine.lose(started)
    exited = await bench.next(ProcessExited, UET)
    assert exited.crashed
    assert exited.reason
    assert not bench.engine.runs("a")
    await bench.settled()
    assert bench.reports == []


@case("can_lose")
async def an_idle_worker_that_is_lost_has_crashed(bench: Bench) -> None:
    bench.engine.lose(await bench.start(UET))
    assert (await bench.next(ProcessExited, UET)).crashed


@case("can_lose")
async def another_worker_goes_on_when_one_is_lost(bench: Bench) -> None:
    started = await bench.start(UET)
    await bench.start(OTHER)
    lease = await bench.begin(OTHER, bench.engine.waits("b"))
    await bench.engine.begun("b")
    bench.engine.lose(started)
    await bench.next(ProcessExited, UET)
    bench.engine.let_go("b")
    assert (await bench.ended(OTHER, lease)).reason is None


# --- stopping -------------------------------------------------------------------------------------


@case()
async def an_idle_worker_that_is_stopped_has_not_crashed(bench: Bench) -> None:
    await bench.start(UET)
    assert await bench.stop(UET) == ProcessExited(crashed=False)


@case()
async def a_busy_worker_that_is_stopped_finishes_first(bench: Bench) -> None:
    await bench.start(UET)
    lease = await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.executor.perform(StopProcess(UET))
    bench.engine.let_go("a")
    assert (await bench.ended(UET, lease)).reason is None
    assert await bench.next(ProcessExited, UET) == ProcessExited(crashed=False)


@case()
async def a_busy_worker_that_is_killed_is_gone_with_its_work(bench: Bench) -> None:
    await bench.start(UET)
    await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    assert not (await bench.stop(UET, kill=True)).crashed
    assert not bench.engine.runs("a")
    # Where its work was answered for at all, it was as lost: nothing of it counts as done.
    for ended in bench.told(WorkEnded, UET):
        assert isinstance(ended, WorkEnded)
        assert (ended.outcome.reason, ended.outcome.infrastructure) == ("lost", True)


@case()
async def stopping_a_worker_that_is_gone_is_answered(bench: Bench) -> None:
    await bench.start(UET)
    await bench.stop(UET)
    assert not (await bench.stop(UET)).crashed


@case()
async def a_worker_may_be_started_again_under_a_new_name(bench: Bench) -> None:
    await bench.start(UET)
    await bench.stop(UET)
    again = UET.replace("@1", "@2")
    await bench.start(again)
    assert (await bench.do(again, bench.engine.succeeds())).reason is None


# --- the executor itself --------------------------------------------------------------------------


@case()
async def it_is_busy_exactly_while_an_outcome_is_to_come(bench: Bench) -> None:
    await bench.start(UET)
    assert not bench.executor.busy
    lease = await bench.begin(UET, bench.engine.waits("a"))
    assert bench.executor.busy
    bench.engine.let_go("a")
    await bench.ended(UET, lease)
    assert not bench.executor.busy


@case()
async def nothing_is_reported_once_it_closes_and_nothing_lives_on(bench: Bench) -> None:
    await bench.start(UET)
    await bench.begin(UET, bench.engine.waits("a"))
    await bench.engine.begun("a")
    bench.reports.clear()
    await bench.executor.close()
    assert bench.reports == []
    assert not bench.engine.runs("a")
    bench.offer(UET, bench.engine.succeeds())
    assert bench.reports == []


@case()
async def what_is_performed_never_raises(bench: Bench) -> None:
    job = bench.engine.succeeds()
    bench.offer("uet_worker:nobody@1", job)
    bench.executor.perform(Release("uet_worker:nobody@1", "9.9"))
    bench.executor.perform(Withdraw("uet_worker:nobody@1", "9.9", "cancelled"))
    bench.executor.perform(StopProcess("uet_worker:nobody@1", kill=True))
    await bench.next(ProcessExited, "uet_worker:nobody@1")
    await bench.next(WorkEnded, "uet_worker:nobody@1")
