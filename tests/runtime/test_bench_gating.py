"""The bench of the merge queue: what the planner reaches in the model, against the arithmetic."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from runtime.bench import gating
from runtime.cli.proving import bench_command


@pytest.fixture(scope="module")
def table() -> gating.Gating:
    return gating.measure(patches=600)


def test_speculation_reaches_what_the_formula_allows(table: gating.Gating) -> None:
    for row in table.rows:
        assert row.speculative.throughput == pytest.approx(row.formula, rel=0.1), row


def test_a_serial_queue_settles_one_patch_in_the_time_of_a_gate(table: gating.Gating) -> None:
    for row in table.rows:
        assert row.serial.throughput == pytest.approx(1.0, rel=0.03)
        assert row.serial.starts == pytest.approx(1.0, rel=0.01)


def test_finding_failures_early_is_worth_more_than_a_larger_window(table: gating.Gating) -> None:
    found = {(row.window, row.rate): row for row in table.rows}
    assert found[4, 0.8].speculative_early.throughput > found[8, 0.8].speculative.throughput


def test_the_table_is_the_same_every_time() -> None:
    assert gating.measure(patches=50) == gating.measure(patches=50)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gating.measure, "__defaults__", (50,))


@pytest.mark.usefixtures("small")
def test_the_command_prints_a_line_for_each_window_and_rate() -> None:
    said = CliRunner().invoke(bench_command, ["--gating"])
    assert said.exit_code == 0, said.output
    assert len(said.output.splitlines()) == 4 + len(gating.CASES)


@pytest.mark.usefixtures("small")
def test_the_command_gives_the_table_to_programs() -> None:
    said = json.loads(CliRunner().invoke(bench_command, ["--gating", "--json"]).output)
    assert [(row["window"], row["rate"]) for row in said["rows"]] == list(map(tuple, gating.CASES))
