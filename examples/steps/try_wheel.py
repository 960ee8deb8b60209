"""Installs the wheel into a throw-away environment, imports it from there and runs its command."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

from warm_cache import BUILD, ROOT

IMPORT = "import actors, runtime, runtime.plan; print(*actors.__path__, *runtime.__path__)"


def main() -> int:
    wheel = max(BUILD.glob("banksman-*.whl"), key=lambda file: file.stat().st_mtime_ns)
    with tempfile.TemporaryDirectory(prefix="banksman-wheel-") as folder:
        home = Path(folder)
        venv.create(home, symlinks=True)
        python = home / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        pip += ["--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
        subprocess.run(pip, check=True)
        # What the wheel depends on is borrowed from this environment: nothing is downloaded.
        site = next((home / "lib").glob("python*/site-packages"))
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        ran = subprocess.run(
            [str(python), "-I", "-c", IMPORT], check=True, capture_output=True, text=True, cwd=home
        )
        places = ran.stdout.split()
        print("imported from", *places)
        if not all(Path(place).is_relative_to(site) for place in places):
            print("that is not the wheel")
            return 1
        plan = str(ROOT / "examples" / "small.toml")
        command = [str(home / "bin" / "banksman"), "check", plan]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
