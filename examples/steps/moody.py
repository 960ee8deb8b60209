"""A tool with moods: it fails its first three calls, and is well from then on.

The number of its calls is kept in `.moods`, where it works, so that a mood outlives a process.
"""

import sys
from pathlib import Path

FAILURES = 3

calls = Path(".moods")
number = int(calls.read_text()) + 1 if calls.exists() else 1
calls.write_text(str(number))
if number <= FAILURES:
    print(f"call {number}, for {sys.argv[1]}: connection refused")
    sys.exit(70)
print(f"call {number}, for {sys.argv[1]}: done")
