"""What every layer of tests shares."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """aiosqlite runs on asyncio only, and so does the kernel."""
    return "asyncio"
