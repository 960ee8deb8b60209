"""Names that leave the tree, are taken for `.git`, deceive the eye, or exist on some systems only;
and what a patch may not touch.
"""

from __future__ import annotations

from runtime.ledger.corpus.kit import (
    EDIT,
    FILE,
    Case,
    created,
    deleted,
    header,
    held,
    refused,
    whole,
)

_NAMES: tuple[tuple[str, str, str | bytes], ...] = (
    ("path_traversal", "parent", "../evil.txt"),
    ("path_traversal", "parent within", "lib/../../evil.txt"),
    ("path_traversal", "parent that stays", "lib/../evil.txt"),
    ("path_traversal", "dot", "./evil.txt"),
    ("path_traversal", "dot within", "lib/./evil.txt"),
    ("path_traversal", "empty component", "lib//evil.txt"),
    ("path_traversal", "parent with backslashes", "lib\\..\\..\\evil.txt"),
    ("path_absolute", "absolute", "/etc/evil"),
    ("path_absolute", "drive", "C:/evil"),
    ("path_absolute", "drive with a backslash", "C:\\evil"),
    ("path_git_dir", ".git", ".git/config"),
    ("path_git_dir", ".git hooks", ".git/hooks/post-checkout"),
    ("path_git_dir", "nested .git", "lib/.git/config"),
    ("path_git_dir", ".git as a file", ".git"),
    ("path_git_dir", "upper case", ".GIT/config"),
    ("path_git_dir", "mixed case", "lib/.Git/config"),
    ("path_git_dir", "trailing dot", ".git./config"),
    ("path_git_dir", "trailing space", ".git /config"),
    ("path_git_dir", "trailing dots and spaces", ".git . ./config"),
    ("path_git_dir", "NTFS stream", ".git::$INDEX_ALLOCATION/config"),
    ("path_git_dir", "NTFS short name", "git~1/config"),
    ("path_git_dir", "NTFS short name in capitals", "GIT~1/config"),
    ("path_git_dir", "NTFS short name with a number", "git~2/config"),
    ("path_git_dir", "HFS zero width", ".g\u200cit/config"),
    ("path_git_dir", "HFS joiner in the middle", ".gi\u200dt/config"),
    ("path_git_dir", "HFS byte order mark", ".git\ufeff/config"),
    ("path_git_dir", "Kelvin-like capitals", ".GIT/hooks/pre-commit"),
    ("path_git_dir", "backslash", "lib\\.git\\config"),
    ("path_control", "newline", "lib/a\nb.py"),
    ("path_control", "tab", "lib/a\tb.py"),
    ("path_control", "carriage return", "lib/a\r"),
    ("path_control", "escape sequence", "lib/\x1b[31mred.py"),
    ("path_control", "bell", "lib/\x07.py"),
    ("path_control", "delete", "lib/\x7f.py"),
    ("path_control", "C1", "lib/\u009b31m.py"),
    ("path_hidden_characters", "right to left", "lib/\u202egnp.py"),
    ("path_hidden_characters", "isolate", "lib/\u2066a.py"),
    ("path_hidden_characters", "zero width space", "lib/a\u200bb.py"),
    ("path_hidden_characters", "soft hyphen", "lib/a\u00adb.py"),
    ("path_hidden_characters", "line separator", "lib/a\u2028b.py"),
    ("path_hidden_characters", "private use", "lib/\ue000.py"),
    ("path_not_utf8", "Latin-1", b"lib/\xe9.py"),
    ("path_not_utf8", "overlong slash", b"lib/\xc0\xaf.py"),
    ("path_not_utf8", "surrogate", b"lib/\xed\xa0\x80.py"),
    ("path_not_nfc", "decomposed", "lib/e\u0301.py"),
    ("path_leading_dash", "option", "-rf"),
    ("path_leading_dash", "long option", "lib/--exec=sh"),
    ("path_backslash", "backslash", "lib\\evil.py"),
    ("path_colon", "stream", "lib/x.py:stream"),
    ("path_colon", "data stream", "lib/x.py::$DATA"),
    ("path_trailing", "dot", "lib/x."),
    ("path_trailing", "space", "lib/x "),
    ("path_trailing", "folder with a dot", "lib./x.py"),
    ("path_device", "con", "con"),
    ("path_device", "aux with a suffix", "lib/aux.c"),
    ("path_device", "nul in capitals", "lib/NUL.txt"),
    ("path_device", "com1", "com1/x.py"),
    ("path_device", "superscript", "lib/com\u00b9"),
    ("path_ambiguous", "a second name inside", "x b/lib/core.py"),
    ("path_ambiguous", "a first name inside", "x a/lib/core.py"),
    ("path_too_long", "component", "lib/" + "n" * 256),
    ("path_too_long", "path", "/".join(["n" * 200] * 6)),
    ("path_too_long", "depth", "d/" * 64 + "x"),
)

_PROTECTED = (
    *(".gitattributes", ".gitignore", "lib/.gitignore", ".mailmap", ".github/workflows/ci.yml"),
    *(".gitlab-ci.yml", "conftest.py", "tests/conftest.py", "setup.py", "pyproject.toml"),
    *("Makefile", "makefile", "lib/sitecustomize.py", "lib/evil.pth", ".pre-commit-config.yaml"),
    *(".envrc", ".env", ".vscode/tasks.json", ".devcontainer/devcontainer.json"),
    *(".claude/settings.json", ".cursor/rules", "CLAUDE.md", "lib/AGENTS.md", "CODEOWNERS"),
    *("uv.lock", "package-lock.json", ".lfsconfig"),
)

_COLLIDING = (
    ("file", "README.TXT"),
    ("folder", "Lib/other.py"),
    ("sharp s", "docs/STRASSE.md"),
    ("link", "HERE"),
    ("with a third", "lib/TWIN.txt"),
)


def _colliding(name: str, path: str) -> Case:
    patch = created(path)
    if name == "sharp s":
        patch = created("docs/straße.md") + patch
    return refused("collision", name, "case_collision", patch)


CASES: tuple[Case, ...] = (
    *(refused("name", f"{code}: {name}", code, created(path)) for code, name, path in _NAMES),
    *(
        held("protected", path, "protected_path", created(path))
        for path in _PROTECTED
        if path != ".gitignore"
    ),
    held(
        "protected", "change of .gitignore", "protected_path", whole(".gitignore", "*.o\ntests/\n")
    ),
    held("protected", "deletion of .gitignore", "protected_path", deleted(".gitignore")),
    held("protected", "by the policy", "protected_path", EDIT, protected_too=("readme.*",)),
    *(_colliding(name, path) for name, path in _COLLIDING),
    held(
        "name",
        "an odd one that is there already",
        "path_colon",
        whole("lib/odd:name.txt", "odd\nNAME\nhere\n"),
    ),
    refused("scope", "outside", "out_of_scope", EDIT, scope=("lib/**",)),
    refused(
        "scope",
        "one of two outside",
        "out_of_scope",
        EDIT.encode() + whole("docs/a.md", "a\n"),
        scope=("docs/",),
    ),
    refused(
        "scope",
        "new outside of create",
        "create_out_of_scope",
        created("lib/n.py"),
        scope=("lib/",),
        create=("lib/m.py",),
    ),
    refused("scope", "new outside of scope", "out_of_scope", created("x.py"), scope=("lib/",)),
    refused(
        "scope",
        "rename out of it",
        "out_of_scope",
        header("docs/a.md", "lib/a.md") + b"similarity index 100%\n"
        b"rename from docs/a.md\nrename to lib/a.md\n",
        scope=("docs/",),
    ),
    refused("scope", "deletion outside", "out_of_scope", deleted("docs/a.md"), scope=("lib/",)),
    refused(
        "name",
        "from the base under a link",
        "does_not_apply",
        created("libs/new.py", mode=FILE),
    ),
)
