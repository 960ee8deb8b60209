"""What a patch does that its lines do not show: links, kinds, submodules, binaries, volume."""

from __future__ import annotations

from runtime.ledger.corpus.kit import (
    EXECUTABLE,
    FIXTURE,
    GITLINK,
    LINK,
    PICTURE,
    Case,
    binary,
    changed,
    created,
    deleted,
    header,
    held,
    refused,
    whole,
)
from runtime.ledger.policy import Limits

_TARGETS: tuple[tuple[str, str, str], ...] = (
    ("symlink_escapes", "absolute", "/etc/passwd"),
    ("symlink_escapes", "parent", "../../etc/passwd"),
    ("symlink_escapes", "parent in the middle", "x/../../../etc"),
    ("symlink_escapes", "drive", "C:\\Windows"),
    ("symlink_escapes", "backslashes", "..\\..\\x"),
    ("symlink_escapes", "through another link", "../deep/er/up/../x"),
    ("symlink_git_dir", "git's folder", "../.git/config"),
    ("symlink_git_dir", "git's folder in capitals", "../.GIT"),
    ("symlink_invalid", "newline", "a\nb"),
    ("symlink_invalid", "escape", "\x1b[2J"),
    ("symlink_invalid", "too long", "x/" * 2500),
    ("symlink_invalid", "itself", "link"),
)


def _gitlink(path: str, old: str, new: str) -> bytes:
    names = f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n"
    lines = f"-Subproject commit {old}\n+Subproject commit {new}\n"
    index = f"index {old[:7]}..{new[:7]} 160000\n"
    return header(path) + f"{index}{names}{lines}".encode()


_MANY = b"".join(created(f"lib/n{n}.py") for n in range(4))

CASES: tuple[Case, ...] = (
    *(
        refused("link", f"{code}: {name}", code, created("lib/link", target, LINK))
        for code, name, target in _TARGETS
    ),
    held("link", "within the tree", "symlink", created("lib/link", "../readme.txt", LINK)),
    held("link", "to what is not there", "symlink", created("lib/link", "absent", LINK)),
    held("link", "to a protected file", "protected_path", created("lib/l", "../.gitignore", LINK)),
    held("link", "pointed elsewhere", "symlink", whole("here", "docs/a.md")),
    refused("link", "pointed out of the tree", "symlink_escapes", whole("here", "/etc/shadow")),
    refused("link", ".gitmodules as one", "does_not_apply", created(".gitmodules", "x", LINK)),
    refused(
        "link", ".gitattributes as one", "symlink_special", created(".gitattributes", "x", LINK)
    ),
    refused(
        "link",
        "edit through one",
        "does_not_apply",
        whole("lib/extra.py", "def extra():\n    return 2\n").replace(b"lib/", b"libs/"),
    ),
    refused(
        "link",
        "made, then written through",
        "does_not_apply",
        created("out", "/tmp", LINK) + created("out/evil"),
    ),
    held(
        "kind",
        "file becomes a link",
        "type_change",
        deleted("readme.txt") + created("readme.txt", "docs/a.md", LINK),
    ),
    held("kind", "link becomes a file", "type_change", deleted("here") + created("here", "text\n")),
    held("kind", "link becomes a folder", "type_change", deleted("libs") + created("libs/x.py")),
    held(
        "kind",
        "folder becomes a file",
        "type_change",
        b"".join(deleted(f"docs/{name}.md") for name in "abc") + created("docs", "x\n"),
    ),
    held(
        "kind",
        "file becomes a folder",
        "type_change",
        deleted("readme.txt") + created("readme.txt/x"),
    ),
    held(
        "kind",
        "becomes executable",
        "executable_gained",
        header("lib/core.py") + b"old mode 100644\nnew mode 100755\n",
    ),
    held(
        "kind",
        "new executable",
        "executable_gained",
        created("bin/new.sh", "#!/bin/sh\n", EXECUTABLE),
    ),
    held("submodule", "moved", "submodule", _gitlink("third/mod", "1" * 40, "2" * 40)),
    held(
        "submodule",
        "new",
        "submodule",
        created("third/new", f"Subproject commit {'2' * 40}\n", GITLINK),
    ),
    held(
        "submodule",
        "removed",
        "submodule",
        deleted("third/mod", f"Subproject commit {'1' * 40}\n".encode()),
    ),
    *(
        refused(
            "submodule",
            name,
            "submodule_config",
            created(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = ./x\n{line}\n'),
        )
        for name, line in (
            ("url that is an option", "\turl = --upload-pack=touch"),
            ("url in quotes that is an option", '\turl = "-u./x"'),
            ("url that runs a program", "\turl = ext::sh -c touch"),
            ("path with a carriage return", '\tpath = "x\\r"'),
            ("path that ends in one", '\tpath = "x\r"'),
            ("path to the parent", "\tpath = ../x"),
            ("path into .git", "\tpath = .git/modules"),
            ("name to the parent", '[submodule "../../hooks"]'),
            ("update that runs a program", "\tupdate = !touch x"),
        )
    ),
    held(
        "submodule",
        "plain .gitmodules",
        "protected_path",
        created(".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x\n'),
    ),
    held("binary", "new", "binary", binary("assets/new.bin", b"\0new")),
    held("binary", "changed", "binary", binary("assets/pic.bin", b"\0x", old=PICTURE)),
    refused(
        "binary", "executable", "binary_executable", binary("bin/evil", b"\x7fELF\0", EXECUTABLE)
    ),
    held("binary", "text that hides a NUL", "binary", created("lib/x.py", b"x = 1\n\0\n")),
    refused(
        "volume",
        "large file",
        "blob_too_large",
        created("lib/x", "y" * 99 + "\n"),
        limits=Limits(blob_bytes=50),
    ),
    refused(
        "volume",
        "many copies of a file",
        "source_too_large",
        b"".join(
            header("docs/a.md", f"docs/a{n}.md")
            + f"copy from docs/a.md\ncopy to docs/a{n}.md\n".encode()
            for n in range(9)
        ),
        limits=Limits(source_bytes=100),
    ),
    held("volume", "many files", "too_many_files", _MANY, limits=Limits(files=3)),
    held("volume", "many lines", "too_many_lines", _MANY, limits=Limits(lines=3)),
    held("volume", "long line", "line_too_long", created("lib/x.js", "x" * 70_000 + "\n")),
    held(
        "volume",
        "mass deletion",
        "mass_deletion",
        b"".join(deleted(f"docs/{name}.md") for name in "abc"),
    ),
    held("volume", "deleted test", "test_deleted", deleted("tests/test_core.py")),
    held(
        "volume",
        "test moved away",
        "test_deleted",
        header("tests/test_core.py", "docs/core.txt") + b"similarity index 100%\n"
        b"rename from tests/test_core.py\nrename to docs/core.txt\n",
    ),
    held(
        "kind",
        "mode and text at once",
        "executable_gained",
        changed(
            "lib/extra.py", FIXTURE["lib/extra.py"][1], b"def extra():\n    return 2\n"
        ).replace(b"--- a", b"old mode 100644\nnew mode 100755\n--- a"),
    ),
)
