"""What a patch may do: the policy, its file in TOML, and the patterns that name files in it."""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from pathlib import Path

import msgspec

from runtime.errors import BanksmanError
from runtime.ledger.reasons import RULES, Reason, Verdict

# A name without a slash is meant in every folder; one that ends in a slash, all below it.
PROTECTED = (
    *(
        ".gitignore",
        ".gitattributes",
        ".gitmodules",
        ".gitkeep",
        ".mailmap",
        ".github/",
        ".gitlab/",
    ),
    *(".gitlab-ci.yml", ".git-blame-ignore-revs", ".lfsconfig", ".circleci/", ".travis.yml"),
    *("azure-pipelines.yml", "Jenkinsfile", ".buildkite/", ".ci/", ".husky/"),
    *("conftest.py", "pytest.ini", "tox.ini", "setup.cfg", "setup.py", "pyproject.toml"),
    *("noxfile.py", "Makefile", "GNUmakefile", "justfile", ".justfile"),
    *("sitecustomize.py", "usercustomize.py", "*.pth", ".pre-commit-config.yaml"),
    *(".envrc", ".env", ".env.*", ".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc", ".netrc"),
    *(".vscode/", ".idea/", ".devcontainer/"),
    *(".claude/", ".codex/", ".cursor/", ".aider*", "CLAUDE.md", "AGENTS.md", "GEMINI.md"),
    *(".cursorrules", ".windsurfrules", "copilot-instructions.md", ".mcp.json"),
    *("CODEOWNERS", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"),
    *("poetry.lock", "uv.lock", "pdm.lock", "Pipfile.lock", "Cargo.lock", "go.sum"),
    *("Gemfile.lock", "composer.lock", "flake.lock", "banksman.toml", ".state/"),
)
TESTS = (
    *("tests/", "test/", "__tests__/", "spec/", "test_*.py", "*_test.py", "*_test.go"),
    *("*.test.[jt]s", "*.test.[jt]sx", "*.spec.[jt]s", "*_spec.rb", "*Test.java", "*Tests.cs"),
)
SECRETS = (
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----",
    r"\bgh[pousr]_[A-Za-z0-9]{36}",
    r"\bgithub_pat_[A-Za-z0-9_]{50}",
    r"\bglpat-[A-Za-z0-9_-]{20}",
    r"\bxox[abeoprs]-[A-Za-z0-9-]{10}",
    r"\bsk-(?:ant|proj)-[A-Za-z0-9_-]{20}",
    r"\b[sr]k_live_[A-Za-z0-9]{20}",
    r"\bAIza[A-Za-z0-9_-]{35}",
    r"\bnpm_[A-Za-z0-9]{36}",
    r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{20}",
    r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10}",
    r"\b[a-z][a-z0-9+.-]{2,20}://[^\s/:@]{1,100}:[^\s/:@]{3,100}@[A-Za-z0-9.-]+",
)


class BadPolicy(BanksmanError):
    """The policy's file cannot be used: where, and why."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of one patch. Those of its text and of one file refuse; the others hold."""

    patch_bytes: int = 5 << 20
    blob_bytes: int = 8 << 20  # a file, before and after the patch
    source_bytes: int = 256 << 20  # all that git loads: a copy costs a line and the whole file
    files: int = 200
    lines: int = 5_000  # added and removed
    line_bytes: int = 64 << 10
    path_bytes: int = 1024
    component_bytes: int = 255
    depth: int = 64
    deleted_files: int = 3  # below that no deletion is a mass
    deleted_ratio: float = 0.1


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """An empty `scope` is everything; an empty `create` is `scope`."""

    scope: tuple[str, ...] = ()
    create: tuple[str, ...] = ()
    protected: tuple[str, ...] = PROTECTED
    protected_too: tuple[str, ...] = ()  # beside the default
    tests: tuple[str, ...] = TESTS
    secrets: tuple[str, ...] = SECRETS
    secrets_too: tuple[str, ...] = ()
    limits: Limits = Limits()
    verdicts: dict[str, Verdict] = {}

    def may_touch(self, path: str, *, new: bool) -> bool:
        """Whether a file that is there, or a `new` one, is within what was asked for."""
        if new and self.create:
            return matches(self.create, path)
        return not self.scope or matches((*self.scope, *self.create), path)

    def is_protected(self, path: str) -> bool:
        return matches((*self.protected, *self.protected_too), path, fold=True)

    def is_test(self, path: str) -> bool:
        return matches(self.tests, path, fold=True)

    @cached_property
    def secret_patterns(self) -> list[re.Pattern[bytes]]:
        return [re.compile(pattern.encode()) for pattern in (*self.secrets, *self.secrets_too)]

    def reason(self, code: str, path: str = "", line: int = 0, text: str = "") -> Reason:
        """The finding with the verdict that this policy gives it."""
        rule = RULES[code]
        verdict = rule.verdict if rule.fixed else self.verdicts.get(code, rule.verdict)
        return Reason(code, rule.stage, verdict, text or rule.text, path, line)

    def spelled(self, reason: Reason) -> Reason:
        """The finding of a name that the base has already: its spelling refuses no more."""
        if RULES[reason.code].fixed or reason.verdict is not Verdict.REJECT:
            return reason
        return msgspec.structs.replace(reason, verdict=Verdict.HOLD)


def read_policy(path: Path) -> Policy:
    """The policy of a file. Raises BadPolicy, OSError."""
    try:
        policy = msgspec.toml.decode(path.read_bytes(), type=Policy)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadPolicy(f"{path}: {error}") from None
    for code in policy.verdicts:
        if code not in RULES:
            raise BadPolicy(f"{path}: verdicts: there is no reason {code!r}")
        if RULES[code].fixed:
            raise BadPolicy(f"{path}: verdicts: no policy changes the verdict of {code!r}")
    if wrong := [
        name for name, value in msgspec.structs.asdict(policy.limits).items() if value < 0
    ]:
        raise BadPolicy(f"{path}: limits: {wrong[0]} is below 0")
    try:
        _ = policy.secret_patterns
        for pattern in (*policy.scope, *policy.create, *policy.protected, *policy.protected_too):
            _pattern(pattern, fold=False)
    except (re.error, ValueError) as error:
        raise BadPolicy(f"{path}: a pattern is wrong: {error}") from None
    return policy


def matches(patterns: tuple[str, ...], path: str, *, fold: bool = False) -> bool:
    """Whether one of the patterns names the file, or a folder that it lies in. `fold`: upper and
    lower case are one."""
    text = path.casefold() if fold else path
    return any(_pattern(pattern, fold=fold).match(text) for pattern in patterns)


@lru_cache(maxsize=4096)
def _pattern(pattern: str, *, fold: bool) -> re.Pattern[str]:
    """`**` is any number of folders, `*` and `?` stay within one, `[ab]` is one of them."""
    text = pattern.casefold() if fold else pattern
    if not text.strip("/") or "\0" in text:
        raise ValueError(f"{pattern!r} names nothing")
    anchored = "/" in text.rstrip("/")
    below = text.endswith("/")
    text = text.strip("/")
    out = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            out += "(?:.*/)?"
            at += 3
        elif text[at:] == "**" and (at == 0 or text[at - 1] == "/"):
            out += ".+"
            at += 2
        elif text[at] == "[" and "]" in text[at + 2 :]:
            end = text.index("]", at + 2)
            inside = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out += f"[{'^' + inside[1:] if inside[0] == '!' else inside}]"
            at = end + 1
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(text[at]) or re.escape(text[at])
            at += 1
    return re.compile(out + ("/.*" if below else "(?:/.*)?") + r"\Z", re.DOTALL)
