"""The pytest plugin: the options --sim-*, and failures that are a story instead of a traceback.

It is installed with the package and loaded by every pytest there. So it imports nothing of the
simulation until a decorated test is run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from runtime.sim.declare import Simulation
    from runtime.sim.report import Report
    from runtime.sim.settings import Settings

_MARK = "__banksman_simulation__"  # as declare.MARK, which must not be imported for it

# name -> (what stands for its value, what it does)
_OPTIONS: dict[str, tuple[str | None, str]] = {
    "seeds": (
        "SEEDS",
        "which seeds: 200, 100..199, commit:50 (this commit's own), or several",
    ),
    "seed": ("N", "this seed only"),
    "case": ("FILE", "replay this saved case, and no other simulation"),
    "strategy": ("NAME", "portfolio, fifo, timed, random, pct, pos, urw or delay"),
    "faults": ("KINDS", "none, default, or crash=0.01,disk_full and the like"),
    "jobs": ("N", "processes for the seeds of a test"),
    "failures": ("N", "how many different bugs end a test"),
    "budget": ("TIME", "how long a test may look for bugs: 30s, 10m"),
    "no-shrink": (None, "tell failures as they were found"),
    "check-determinism": (None, "run each seed twice, and tell the first event that differs"),
    "coverage": ("OUT", "write what all simulations covered, as JSON"),
    "html": ("DIR", "where timelines go"),
    "folder": ("DIR", "where cases are kept (default: .sim in the root directory)"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options; each may also be given as BANKSMAN_SIM_<NAME>."""
    group = parser.getgroup("simulation", "simulation (banksman)")
    for name, (value, says) in _OPTIONS.items():
        if value is None:
            group.addoption(f"--sim-{name}", action="store_const", const=True, help=says)
        else:
            group.addoption(f"--sim-{name}", metavar=value, help=says)


def pytest_configure(config: pytest.Config) -> None:
    """Refuses options and variables that cannot be read before anything runs."""
    if _given(config) or any(_variable(name) in os.environ for name in _OPTIONS):
        _settings(config, None)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Explores a decorated test with what was asked for; leaves every other test alone."""
    found = getattr(pyfuncitem.obj, _MARK, None)
    if found is None:
        return None
    from runtime.sim.declare import Simulation  # noqa: PLC0415 - see the opening

    if isinstance(found, Simulation):
        _explore(pyfuncitem, found)
    else:
        _prove(found)
    return True


def _explore(item: pytest.Function, simulation: Simulation) -> None:
    from runtime.sim import cases  # noqa: PLC0415 - see the opening
    from runtime.sim.report import summary  # noqa: PLC0415 - likewise

    settings = _settings(item.config, simulation, item.nodeid)
    if settings.case is not None:
        case = cases.read(settings.case)
        if case.case.scenario.rpartition("::")[2] != simulation.locator.rpartition("::")[2]:
            pytest.skip(f"{settings.case} is a case of {case.case.scenario}")
    report = simulation.explore(settings)
    if settings.coverage is not None:
        _covered(item.config).append(report)
    if not report.ok:
        pytest.fail(str(report), pytrace=False)
    if report.never:
        item.user_properties.append((_UNTRIED, f"never came by: {', '.join(report.never)}"))
    if report.idle:
        item.user_properties.append((_UNTRIED, "nothing happened in any run"))
    print(summary(report))  # noqa: T201 - pytest keeps it with the test


def _prove(proof: Any) -> None:
    from runtime.sim.proof import story  # noqa: PLC0415 - see the opening

    result = proof.search()
    told = "\n".join(story(proof.name, result))
    if not result.complete:
        pytest.fail(told, pytrace=False)
    print(told)  # noqa: T201 - pytest keeps it with the test


# --- options ----------------------------------------------------------------------------------


def _variable(name: str) -> str:
    # As settings.variable, which must not be imported for it.
    return "BANKSMAN_SIM_" + name.upper().replace("-", "_")


def _given(config: pytest.Config) -> dict[str, Any]:
    found = {name: config.getoption(f"sim_{name.replace('-', '_')}") for name in _OPTIONS}
    return {name: value for name, value in found.items() if value is not None}


def _settings(config: pytest.Config, simulation: Simulation | None, target: str = "") -> Settings:
    """What was asked: of the decorator, in the environment, on the command line; the later wins."""
    import msgspec  # noqa: PLC0415 - see the opening

    from runtime.sim import cases, settings  # noqa: PLC0415 - likewise

    asked = simulation.settings if simulation is not None else settings.Settings()
    if asked.folder == settings.Settings().folder:
        asked = msgspec.structs.replace(asked, folder=config.rootpath / cases.FOLDER)
    try:
        asked = settings.read(settings.from_environ(os.environ), asked)
        asked = settings.read(_given(config), asked)
    except ValueError as error:  # BadSetting and BadSeeds
        raise pytest.UsageError(f"--sim: {error}") from None
    return msgspec.structs.replace(asked, command="pytest", option="--sim-", target=target)


# --- what never came ------------------------------------------------------------------------------

_UNTRIED = "simulation: not put to the test"  # a property of the test: pytest-xdist hands it on


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what of the tests that passed has tested nothing: each `sometimes` and `always` that no
    run came by, and a scenario in which nothing happens."""
    told = [
        f"{test.nodeid}: {text}"
        for test in terminalreporter.getreports("passed")
        if test.when == "call"
        for name, text in test.user_properties
        if name == _UNTRIED
    ]
    if told:
        terminalreporter.section("simulation: passed, and not put to the test")
        for line in told:
            terminalreporter.line(line)


# --- coverage ---------------------------------------------------------------------------------

_COVERED = pytest.StashKey[list[Any]]()


def _covered(config: pytest.Config) -> list[Report]:
    return config.stash.setdefault(_COVERED, [])


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Writes the coverage of all simulations, where it was asked for."""
    yield
    covered = session.config.stash.get(_COVERED, [])
    if covered:
        from runtime.sim.covering import write  # noqa: PLC0415 - see the opening

        settings = _settings(session.config, None)
        assert settings.coverage is not None
        # Each process of pytest-xdist has run a part, and writes a file of its own.
        worker = getattr(session.config, "workerinput", {}).get("workerid", "")
        out = settings.coverage
        write(out.with_name(f"{out.stem}-{worker}{out.suffix}") if worker else out, covered)
