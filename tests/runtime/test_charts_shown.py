"""What `banksman charts` and docs/charts.md show is what the actors are compiled from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runtime.charts import CHARTS, as_json, as_markdown, as_mermaid

MACHINES = [
    "run",
    "workstream",
    "task",
    "worker",
    "uet_worker",
    "test_gate",
    "circuit_breaker",
    "patch_ledger",
]
DOCUMENT = Path(__file__).parents[2] / "docs" / "charts.md"

# The part of Mermaid's grammar that is used: an arrow, a described state, a composite's braces.
STATE = r"(?:\[\*\]|[a-z_]+)"
LINE = re.compile(
    rf"\s+(?:{STATE} --> {STATE}(?: : [a-z_]+)?|[a-z_]+ : [a-z_]+|state [a-z_]+ {{|}})"
)


def test_the_json_holds_all_eight_machines_in_the_order_of_the_design() -> None:
    assert list(as_json()) == MACHINES


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_in_json_says_all_that_its_chart_says(name: str) -> None:
    shown, chart = json.loads(json.dumps(as_json()))[name], CHARTS[name]
    assert shown["states"] == list(chart.states)
    assert shown["initial"] == chart.initial
    assert set(shown["terminal"]) == chart.terminal
    assert shown["edges"] == [[e.source, e.target, e.trigger, e.severity] for e in chart.edges]


@pytest.mark.parametrize("name", [*MACHINES, None])
def test_a_diagram_is_made_of_lines_that_mermaid_knows(name: str | None) -> None:
    first, *lines = as_mermaid(name).splitlines()
    assert first == "stateDiagram-v2"
    assert [line for line in lines if not LINE.fullmatch(line)] == []


@pytest.mark.parametrize("name", MACHINES)
def test_a_diagram_has_an_arrow_for_each_edge_one_in_and_one_out_of_each_end(name: str) -> None:
    chart = CHARTS[name]
    arrows = [line.strip() for line in as_mermaid(name).splitlines()[1:]]
    assert arrows == [
        f"[*] --> {chart.initial}",
        *(f"{e.source} --> {e.target} : {e.trigger}" for e in chart.edges),
        *(f"{state} --> [*]" for state in chart.states if state in chart.terminal),
    ]


def test_in_the_diagram_of_all_eight_no_two_machines_share_a_state() -> None:
    described = re.findall(r"^ +([a-z_]+) : ([a-z_]+)$", as_mermaid(), re.MULTILINE)
    assert len(dict(described)) == len(described) == 58


def test_a_machine_that_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="cell"):
        as_mermaid("cell")


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == as_markdown(), (
        "write it anew: python -c 'from runtime.charts import as_markdown; "
        'print(as_markdown(), end="")\' > docs/charts.md'
    )
