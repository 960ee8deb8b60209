"""Both pools of this machine against the conformance suite of the executor port."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.port_kit.ours import ChildProcesses, InProcess
from tests.runtime.port_kit.port import Bench, Engine
from tests.runtime.port_kit.suite import CASES, lacking

ENGINES: dict[str, type[Engine]] = {"processes": ChildProcesses, "inline": InProcess}


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())
@pytest.mark.parametrize("name", CASES)
async def test_an_executor_holds_what_the_kernel_relies_on(
    tmp_path: Path, engine: type[Engine], name: str
) -> None:
    under_test = engine()
    missing = lacking(under_test.facts, name)
    if missing:
        pytest.skip(f"this engine has not: {', '.join(missing)}")
    async with under_test.open(tmp_path) as executor:
        await CASES[name](Bench(executor, under_test, tmp_path))
