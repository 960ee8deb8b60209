"""An owner in a process of its own, to be killed: `python -m tests.runtime.kernel_child DIR`.

It adds to an account until it dies, prints each sum that it was answered, and writes the key of
each effect that it performed to DIR/performed.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from actors.effects import Perform, Reply
from actors.machine import Decision
from tests.runtime.kernel_kit import account, opened, seen
from tests.runtime.ledger_actor import Account, Play


def add(account: Account) -> Decision[Account]:
    more = msgspec.structs.replace(account, sum=account.sum + 1)
    return Decision(more, (), (Perform("mail", f"m{more.sum}"), Reply(more.sum)))


async def main(folder: Path) -> None:
    async def perform(key: str, _payload: Any, _perhaps_done: bool) -> None:
        with (folder / "performed").open("a") as file:
            file.write(f"{key}\n")

    async with opened(folder, performers={"mail": perform}) as rt:
        ref = await account(rt, "a")
        for number in range(1, 100):
            print(await rt.ask(ref, Play(add)), flush=True)
            while len(await seen(rt, ref)) < number:
                pass  # each look is an ask, which lets the others go on


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
