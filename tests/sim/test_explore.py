"""A campaign: seeds, saved cases, what was found and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from runtime.sim.case import Case, Result
from runtime.sim.cases import BadCase, Saved, aligned, read, saved, unlike, write
from runtime.sim.explore import Standing, explore
from runtime.sim.pool import ScenarioRaised
from runtime.sim.report import Ended, Report
from runtime.sim.seeds import Seeds, parse
from runtime.sim.settings import Settings
from tests.sim.toy import BASE, Toy, toy


def campaign(folder: Path | None, runnable: Toy | None = None, **asked: object) -> Report:
    settings = msgspec.structs.replace(Settings(folder=folder, seeds=parse("300")), **asked)
    return explore(runnable or Toy(), "toy", BASE, settings, load=toy)


def small_case(folder: Path) -> Path:
    campaign(folder)
    (found,) = (folder / "cases" / "toy").glob("*.json")
    return found


# --- seeds --------------------------------------------------------------------------------------


def test_a_campaign_ends_at_its_first_bug_and_counts_the_runs_until_there(tmp_path: Path) -> None:
    report = campaign(tmp_path)
    assert report.ended is Ended.FAILURES
    assert not report.ok
    assert report.explored.runs == report.failures[0].nth


def test_a_campaign_that_finds_nothing_has_run_all_its_seeds(tmp_path: Path) -> None:
    report = campaign(tmp_path, Toy(mended=True))
    assert report.ok
    assert (report.ended, report.explored.runs) == (Ended.SEEDS, 300)
    assert not tmp_path.exists() or not list(tmp_path.iterdir())


def test_failures_of_one_bug_are_told_once_and_counted() -> None:
    report = campaign(None, failures=2, shrink=False)
    (found,) = report.failures
    assert found.times > 1
    assert report.explored.runs == 300


def test_a_campaign_in_two_processes_finds_and_counts_what_one_does() -> None:
    def told(jobs: int) -> object:
        report = campaign(None, jobs=jobs, seeds=parse("60"), failures=9)
        found = [msgspec.structs.replace(each, smaller=None) for each in report.failures]
        counts = msgspec.structs.replace(report.explored, seconds=0.0)
        return found, counts, report.coverage, report.ended

    assert told(2) == told(1)


def test_a_budget_ends_a_campaign() -> None:
    report = campaign(None, Toy(mended=True), budget_s=0.0)
    assert (report.ended, report.explored.runs) == (Ended.BUDGET, 0)


def test_an_interruption_tells_what_is_known_so_far() -> None:
    class Interrupted(Toy):
        def run(self, case: Case, *, record: bool = False) -> Result:
            if case.seed == 40:
                raise KeyboardInterrupt
            return Toy(mended=True).run(case, record=record)

    report = campaign(None, Interrupted())
    assert (report.ended, report.explored.runs) == (Ended.INTERRUPTED, 40)
    assert "what is known so far" in str(report)


def test_the_one_who_watches_is_told_of_seeds_and_of_shrinking() -> None:
    told: list[Standing] = []
    settings = Settings(folder=None, seeds=parse("300"))
    explore(Toy(), "toy", BASE, settings, say=told.append)
    assert told[0].explored.runs == 1
    assert told[0].seeds == 300
    assert any(standing.shrinking is not None for standing in told)
    assert told[-1].bugs == 1


def test_what_never_came_up_is_named_once_all_seeds_have_run() -> None:
    assert campaign(None, Toy(mended=True)).never == ("never",)
    assert campaign(None).never == ()


def test_a_scenario_that_is_another_each_time_is_found_out_and_its_first_difference_named() -> None:
    report = campaign(None, Toy(mended=True, forgetful=True), check_determinism=True)
    failure = report.failures[0].failure
    assert failure.invariant == "determinism"
    assert failure.detail[0].startswith("once:  t0 ")
    assert failure.detail[1].startswith("again: ")


def test_a_scenario_that_is_a_function_of_its_case_passes_the_check_of_it() -> None:
    runnable = Toy(mended=True)
    assert campaign(None, runnable, check_determinism=True, seeds=parse("5")).ok
    assert len(runnable.runs) == 10


# --- how it is told -------------------------------------------------------------------------------


def test_a_failure_reads_as_a_story_of_fifteen_lines(tmp_path: Path) -> None:
    report = campaign(tmp_path)
    story = list(report.failures[0].lines("toy"))
    text = "\n".join(story)
    assert 10 <= len(story) <= 16
    assert story[0].startswith("toy: once is broken at 00:00:0")
    assert "began twice" in story[1]
    assert "replay    banksman simulate 'tests/sim/toy.py::toy' --case " in text
    assert "8 tasks to" in text or report.failures[0].case.config.sizes["tasks"] == 8
    assert "1. the owner dies at any moment" in text
    assert "2. t0 is held back with Begin" in text
    assert "everything else: first come, first served, no fault, no delay" in text
    assert "how it came  #1 Begin -> " in text
    assert "first difference from a passing run" in text


def test_the_story_names_files_that_are_there(tmp_path: Path) -> None:
    (found,) = campaign(tmp_path).failures
    assert read(Path(found.case_file)).failure == found.failure
    assert Path(found.timeline).read_text().startswith("<!doctype html>")
    assert (tmp_path / "failures" / ".gitignore").read_text() == "*\n"


def test_without_a_folder_nothing_is_written_and_the_seed_replays(tmp_path: Path) -> None:
    (found,) = campaign(None).failures
    assert (found.case_file, found.timeline) == ("", "")
    assert found.replay.endswith(f"--seed {found.found_by.seed}")


def test_the_report_as_json_says_the_same() -> None:
    report = campaign(None)
    told = json.loads(msgspec.json.encode(report.to_json()))
    assert told["ok"] is False
    assert told["failures"][0]["steps"] == list(report.failures[0].steps)
    assert "coverage" not in told


def test_unshrunk_the_case_is_that_of_the_seed(tmp_path: Path) -> None:
    (found,) = campaign(tmp_path, shrink=False).failures
    assert found.case == found.found_by
    assert found.smaller is None
    assert not (tmp_path / "cases").exists()


def test_a_world_too_small_for_its_scenario_is_no_smaller_case() -> None:
    class Needy(Toy):
        def run(self, case: Case, *, record: bool = False) -> Result:
            if case.config.sizes["tasks"] < 8:
                raise ScenarioRaised(self.locator, "no plan without eight tasks")
            return Toy().run(case, record=record)

    (found,) = campaign(None, Needy()).failures
    assert found.case.config.sizes == {"tasks": 8}
    assert len(found.steps) == 2


# --- saved cases ----------------------------------------------------------------------------------


def test_a_shrunk_case_runs_first_the_next_time_and_ends_the_campaign(tmp_path: Path) -> None:
    path = small_case(tmp_path)
    report = campaign(tmp_path)
    assert report.explored.runs == 0
    assert [(k.file, k.state) for k in report.known] == [(str(path), "fails")]
    assert report.failures[0].case_file == str(path)


def test_a_saved_case_whose_bug_is_gone_passes(tmp_path: Path) -> None:
    small_case(tmp_path)
    report = campaign(tmp_path, Toy(mended=True))
    assert report.ok
    assert [known.state for known in report.known] == ["passes"]


def test_a_saved_case_that_no_longer_aligns_is_stale_and_not_passed(tmp_path: Path) -> None:
    small_case(tmp_path)
    report = campaign(tmp_path, Toy(mended=True, gone=True))
    assert [known.state for known in report.known] == ["stale"]
    assert "proves nothing" in str(report)
    assert report.ok
    assert "nothing found in 300 runs, 1 saved case, 1 saved case is stale; " in str(report)


def test_a_saved_case_that_cannot_be_read_is_named_and_the_others_run(tmp_path: Path) -> None:
    path = small_case(tmp_path)
    (path.parent / "broken.json").write_text("{")
    report = campaign(tmp_path)
    assert [known.state for known in report.known] == ["cannot be read", "fails"]


def replay_of(path: Path, runnable: Toy) -> Report:
    return campaign(path.parents[2], runnable, case=path)


def test_the_replay_of_a_case_is_that_case_alone(tmp_path: Path) -> None:
    runnable = Toy()
    report = replay_of(small_case(tmp_path), runnable)
    assert not report.ok
    assert report.notes == ()
    assert {msgspec.structs.replace(c, overrides={}).seed for c in runnable.runs} == {
        report.failures[0].case.seed
    }


def test_a_strict_replay_names_the_first_event_that_differs(tmp_path: Path) -> None:
    path = small_case(tmp_path)
    case = read(path)
    lines = list(case.lines)
    lines[1] = "1.000000 t1 Stop [00000000]"
    other = msgspec.structs.replace(case, lines=tuple(lines), trace_hash="0")
    report = replay_of(write(path.with_name("other.json"), other), Toy())
    assert report.notes[0].startswith(
        "event 2 is the first that differs: it was 1.000000 t1 Stop [00000000], it is "
    )


def test_a_named_case_that_is_another_run_and_shows_no_failure_is_stale_and_not_ok(
    tmp_path: Path,
) -> None:
    path = small_case(tmp_path)
    lines = ("1.000000 t1 Stop [00000000]", *read(path).lines[1:])
    other = msgspec.structs.replace(read(path), lines=lines, trace_hash="0")
    report = replay_of(write(path.with_name("other.json"), other), Toy(mended=True))
    assert not report.ok
    told = str(report).splitlines()
    assert told[0] == "toy: the saved case is stale, so nothing is known"
    (line,) = [each for each in told if "other.json: stale, " in each]
    assert "event 1 is the first that differs: it was 1.000000 t1 Stop" in line
    assert line.endswith("find it anew: banksman simulate 'tests/sim/toy.py::toy'")


def recorded() -> tuple[Saved, Result]:
    result = Toy().run(Case("toy", 3, BASE), record=True)
    return saved(result), result


def test_a_replay_that_ends_early_or_goes_on_is_unlike() -> None:
    case, result = recorded()
    assert unlike(case, result.happenings) is None
    shorter = unlike(case, result.happenings[:-1])
    assert shorter is not None
    assert shorter.now == ""
    longer = unlike(case, (*result.happenings, result.happenings[0]))
    assert longer is not None
    assert longer.was == ""


def test_a_case_that_steers_nothing_aligns_if_it_makes_the_choices_it_made() -> None:
    case, result = recorded()
    assert aligned(case, result)
    result.choices = {}
    assert not aligned(case, result)


def wrong_files() -> list[tuple[str, str]]:
    good = msgspec.to_builtins(recorded()[0])
    return [
        ("[]", "is no case"),
        (json.dumps({**good, "format": 99}), "newer"),
        (json.dumps({**good, "format": 0}), "find it anew by its seed"),
        (json.dumps({**good, "more": 1}), "is no case"),
    ]


@pytest.mark.parametrize(("text", "says"), wrong_files())
def test_a_file_that_is_no_case_is_refused_with_a_reason(
    text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "case.json"
    path.write_text(text)
    with pytest.raises(BadCase, match=says):
        read(path)


def test_a_case_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCase, match="No such file"):
        read(tmp_path / "none.json")


def test_a_case_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    case, _ = recorded()
    assert read(write(tmp_path / "case.json", case)) == case


# --- processes ------------------------------------------------------------------------------------


def nothing_there(locator: str) -> Toy:
    raise SystemExit(3)


def test_a_process_of_the_pool_that_dies_ends_the_campaign_with_what_to_do() -> None:
    load: Callable[[str], Toy] = nothing_there
    settings = Settings(folder=None, jobs=2, seeds=Seeds((range(40),)))
    with pytest.raises(RuntimeError, match="--jobs 1"):
        explore(Toy(), "toy", BASE, settings, load=load)
