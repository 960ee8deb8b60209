"""The peers' score card: that the kit can grade others, and that docs/breakers.md says how."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.actors.breaker_kit import score
from tests.actors.breaker_kit.__main__ import main
from tests.actors.breaker_kit.ours import Ours
from tests.actors.breaker_kit.port import Absent, Permit

PAGE = Path(__file__).parents[2] / "docs" / "breakers.md"


class Forgetful(Ours):
    """Never opens, and cannot be held."""

    def settle(self, permit: Permit, outcome: str = "ok", **more: object) -> object:
        return super().settle(permit, "ok", **more)  # type: ignore[arg-type]

    def operate(self, verb: str, *, passed: bool = True) -> bool:
        raise Absent(f"the verb {verb}")


def test_a_case_that_asks_for_what_is_absent_is_neither_passed_nor_failed() -> None:
    graded = score.grade("forgetful", Forgetful)
    assert 5 in graded.failed
    assert graded.absent[57] == "the verb hold"
    assert 1 in graded.passed
    assert len(graded.passed) + len(graded.failed) + len(graded.absent) == len(score.CASES)


@pytest.mark.parametrize("name", score.PEERS)
def test_the_score_of_a_peer_is_the_one_in_the_documentation(name: str) -> None:
    makes = {n: make for n, make in score.installed().items() if n.partition(" ")[0] == name}
    if not makes:
        pytest.skip(f"{name} is not installed: pip install -e '.[peers]'")
    ((title, make),) = makes.items()
    *_, row = score.card([score.grade(title, make)])
    text = PAGE.read_text()
    if f"| {title} |" not in text:
        pytest.skip(f"docs/breakers.md grades another version than {title}")
    assert row in text


def test_our_own_score_is_the_one_in_the_documentation() -> None:
    *_, row = score.card([score.grade("banksman", Ours)])
    assert row in PAGE.read_text()


def test_the_score_card_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert "| banksman | 84 | 0 | 0 | none |" in capsys.readouterr().out
