"""The version, once: read by the build from here, shown by the banner and `--version`."""

from typing import Final

VERSION: Final = "0.1.0"
