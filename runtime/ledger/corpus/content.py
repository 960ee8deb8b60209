"""What the added lines hold: secrets, what is not seen, and tests that no longer test."""

from __future__ import annotations

from runtime.ledger.corpus.kit import Case, created, held, refused, whole

# In two parts each, or a search for secrets would find this file.
_SECRETS = (
    ("AWS", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("private key", "-----BEGIN RSA PRIVATE " + "KEY-----"),
    ("SSH key", "-----BEGIN OPENSSH PRIVATE " + "KEY-----"),
    ("GitHub", "ghp_" + "a1B2" * 9),
    ("GitLab", "glpat-" + "a1B2c3D4e5F6g7H8i9J0"),
    ("Slack", "xoxb-" + "123456789012-abc"),
    ("Anthropic", "sk-ant-" + "api03-abcdefghijklmnop"),
    ("Stripe", "sk_live_" + "abcdefghijklmnopqrst"),
    ("Google", "AIza" + "SyA1234567890abcdefghijklmnopqrstuv"),
    ("URL with a password", "postgres://app:" + "s3cret@db.example.org/x"),
)
_TEST = "def test_core():\n    assert 1 + 1 == 2\n"

CASES: tuple[Case, ...] = (
    *(
        held("secret", name, "secret", created("lib/conf.py", f'KEY = "{text}"\n'))
        for name, text in _SECRETS
    ),
    held(
        "secret",
        "by the policy",
        "secret",
        created("lib/conf.py", "corp-4711\n"),
        secrets_too=(r"corp-\d+",),
    ),
    refused(
        "content",
        "conflict markers",
        "conflict_markers",
        created("lib/x.py", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n"),
    ),
    refused(
        "content",
        "conflict markers with a base",
        "conflict_markers",
        created("lib/x.py", "<<<<<<< ours\na\n||||||| base\n=======\nb\n>>>>>>> theirs\n"),
    ),
    held("content", "escape sequence", "terminal_escapes", created("lib/x.py", "# \x1b[2Kx\n")),
    held("content", "backspace", "terminal_escapes", created("lib/x.py", "evil\x08\x08\x08\n")),
    held("content", "C1 control", "terminal_escapes", created("lib/x.py", "\u009b2K\n")),
    held("content", "right to left", "hidden_characters", created("lib/x.py", "# \u202e x\n")),
    held("content", "isolate", "hidden_characters", created("lib/x.py", "a = '\u2066'\n")),
    held("content", "zero width", "hidden_characters", created("lib/x.py", "a\u200bb = 1\n")),
    held("content", "tags", "hidden_characters", created("lib/x.py", "# \U000e0041\n")),
    held(
        "content",
        "LFS pointer",
        "lfs_pointer",
        created(
            "assets/big.psd",
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 9\n",
        ),
    ),
    *(
        held("content", f"test: {line}", "test_skipped", whole("tests/test_core.py", line + _TEST))
        for line in (
            "@pytest.mark.skip\n",
            "@pytest.mark.xfail(strict=False)\n",
            "@unittest.skip('later')\n",
            "pytestmark = pytest.mark.skip\n",
        )
    ),
    held(
        "content",
        "test: of JavaScript",
        "test_skipped",
        created("lib/a.test.js", "it.skip('works', () => {})\n"),
    ),
)
