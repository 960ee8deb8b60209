"""What people and tools send every day: all of it is owed ACCEPT."""

from __future__ import annotations

from runtime.ledger.corpus.kit import (
    EDIT,
    FIXTURE,
    Case,
    accepted,
    changed,
    created,
    deleted,
    header,
    mail,
    whole,
)
from runtime.ledger.policy import Policy

_H = "honest"
_CORE = FIXTURE["lib/core.py"][1].splitlines(keepends=True)
_RENAME = (
    header("docs/a.md", "docs/z.md")
    + b"similarity index 100%\nrename from docs/a.md\nrename to docs/z.md\n"
)
_TWO_HUNKS = (
    b"diff --git a/lib/core.py b/lib/core.py\n--- a/lib/core.py\n+++ b/lib/core.py\n"
    b"@@ -1,4 +1,5 @@\n step_1 = 1\n+step = 0\n step_2 = 2\n step_3 = 3\n step_4 = 4\n"
    b"@@ -20,5 +21,4 @@ section of the file\n step_20 = 20\n step_21 = 21\n-step_22 = 22\n"
    b" step_23 = 23\n step_24 = 24\n"
)

CASES: tuple[Case, ...] = (
    accepted(_H, "edit", EDIT),
    accepted(_H, "two files", EDIT.encode() + whole("docs/a.md", "a one\na 2\na three\n")),
    accepted(_H, "two hunks", _TWO_HUNKS),
    accepted(_H, "new file", created("lib/new.py", "x = 1\n")),
    accepted(_H, "new empty file", created("lib/none.py", "")),
    accepted(_H, "new file in new folders", created("lib/a/b/c.py")),
    accepted(_H, "new file without final newline", created("lib/new.py", "x = 1")),
    accepted(_H, "name with a space", created("docs/with space.md")),
    accepted(_H, "name in UTF-8", created("docs/été 漢字.md")),
    accepted(_H, "name with spaces and UTF-8", created("docs/naïve plan.md")),
    accepted(_H, "hidden file", created("lib/.keep")),
    accepted(_H, "name that begins like .git", created("lib/.gitlike")),
    accepted(_H, "name with a tilde", created("lib/file~1.txt")),
    accepted(_H, "deletion", deleted("docs/a.md")),
    accepted(_H, "deletion of an empty file", deleted("lib/empty.txt")),
    accepted(_H, "deletion of a binary file's neighbour", deleted("lib/extra.py")),
    accepted(_H, "rename", _RENAME),
    accepted(
        _H,
        "rename with an edit",
        _RENAME.replace(b"100%", b"60%")
        + b"--- a/docs/a.md\n+++ b/docs/z.md\n@@ -1,3 +1,3 @@\n a one\n-a two\n+a 2\n a three\n",
    ),
    accepted(
        _H,
        "copy",
        header("docs/a.md", "docs/z.md")
        + b"similarity index 100%\ncopy from docs/a.md\ncopy to docs/z.md\n",
    ),
    accepted(
        _H, "executable bit lost", header("bin/tool.sh") + b"old mode 100755\nnew mode 100644\n"
    ),
    accepted(_H, "edit of an executable", whole("bin/tool.sh", "#!/bin/sh\nexit 1\n")),
    accepted(_H, "no final newline", whole("lib/end.txt", "x\ny\nZ")),
    accepted(_H, "final newline gained", whole("lib/end.txt", "x\ny\nZ\n")),
    accepted(_H, "CRLF stays", whole("lib/dos.txt", "one\r\n2\r\nthree\r\n")),
    accepted(_H, "Latin-1", whole("lib/latin.txt", b"gr\xfc\xdfe\nan\nalle!\n")),
    accepted(
        _H, "filling of an empty file", whole("lib/empty.txt", "x\n").replace(b"-1,0", b"-0,0")
    ),
    accepted(_H, "all of a file of one line", whole("lib/single.txt", "other\n")),
    accepted(
        _H, "line that looks like a header", whole("docs/a.md", "a one\n-- a/x\na two\na three\n")
    ),
    accepted(
        _H,
        "line that looks like a diff",
        whole("docs/a.md", "a one\ndiff --git a/x b/x\na three\n"),
    ),
    accepted(_H, "heading underlined", whole("docs/a.md", "a one\n=======\na two\na three\n")),
    accepted(_H, "form feed and tab", whole("docs/a.md", "a one\n\f\ta 2\na three\n")),
    accepted(_H, "emoji with a joiner", whole("docs/a.md", "a one\n👩\u200d💻\na three\n")),
    accepted(_H, "mail", mail("Why.\n")),
    accepted(_H, "mail with a rule in its message", mail("Above.\n---\nBelow.\n")),
    accepted(_H, "two mails", mail("One.\n") + mail("Two.\n", whole("docs/a.md", "a\n"))),
    accepted(_H, "context of an empty line", created("lib/gap.py", "a\n\nb\n")),
    accepted(
        _H,
        "edit at the end",
        changed("lib/core.py", b"".join(_CORE[-4:]), b"".join(_CORE[-4:-1]), 27),
    ),
    accepted(_H, "one of names that collide already", whole("lib/Twin.txt", "UPPER\n")),
    accepted(_H, "within its scope", EDIT, Policy(scope=("*.txt",))),
    accepted(
        _H,
        "new file within create",
        created("lib/new.py"),
        Policy(scope=("docs/",), create=("lib/*.py",)),
    ),
)
