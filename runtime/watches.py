"""Who is to be told of whose end, both ways round: by whom it is watched, and whom it watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


class Watches:
    """Mutable on purpose: the kernel's index over what the store holds."""

    def __init__(self, known: Mapping[str, Sequence[str]] | None = None) -> None:
        """`known`: target to watchers."""
        self._by_target: dict[str, list[str]] = {}
        self._by_watcher: dict[str, list[str]] = {}
        for target, watchers in (known or {}).items():
            for watcher in watchers:
                self.add(target, watcher)

    def add(self, target: str, watcher: str) -> bool:
        """False where it is watched by that one already."""
        watchers = self._by_target.setdefault(target, [])
        if watcher in watchers:
            return False
        watchers.append(watcher)
        self._by_watcher.setdefault(watcher, []).append(target)
        return True

    def told(self, target: str) -> list[str]:
        """Who watched it, in the order of their asking: they are told now, and watch no more."""
        watchers = self._by_target.pop(target, [])
        for watcher in watchers:
            self._forget(self._by_watcher, watcher, target)
        return watchers

    def left(self, watcher: str) -> list[str]:
        """Whom it watched: it has ended itself, and wants to hear of nobody."""
        targets = self._by_watcher.pop(watcher, [])
        for target in targets:
            self._forget(self._by_target, target, watcher)
        return targets

    @staticmethod
    def _forget(index: dict[str, list[str]], key: str, entry: str) -> None:
        entries = index[key]
        entries.remove(entry)
        if not entries:
            del index[key]

    def __iter__(self) -> Iterator[str]:
        """The targets."""
        return iter(self._by_target)

    def __bool__(self) -> bool:
        return bool(self._by_target)
