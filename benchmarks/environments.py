"""Environments of their own for the libraries that the races compare with.

    python -m benchmarks.environments [torch] [jax] [onnx]

makes `.venv-NAME` beside `.venv` for each that is missing, and leaves those that are there alone. Which build of
PyTorch comes, with CUDA or without, is up to pip and its settings. A race without one of them says so and goes on.
"""

import argparse
import shutil
import subprocess
import sys

from benchmarks import racing

# What each is asked for, by pip's names.
PACKAGES = {
    "torch": ["torch==2.13.0", "numpy"],
    "jax": ["jax==0.10.2"],
    "onnx": ["onnxruntime==1.32.0", "numpy"],
}


def make(library: str) -> bool:
    """Makes one environment, whole or not at all; says whether it is there."""
    folder = racing.ROOT / f".venv-{library}"
    # Written last, so that an installation that was killed is not taken for a whole one.
    complete = folder / ".complete"
    if complete.exists():
        return True
    print(f"Installing {' '.join(PACKAGES[library])} into {folder.name}", flush=True)
    pip = [str(racing.PYTHONS[library]), "-m", "pip", "install", "--quiet"]
    commands = [
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "--disable-pip-version-check", "--only-binary", ":all:", *PACKAGES[library]],
    ]
    for command in commands:
        if subprocess.run(command, check=False).returncode:
            print(f"{folder.name} could not be made: the races go on without {library}")
            shutil.rmtree(folder, ignore_errors=True)
            return False
    complete.touch()
    return True


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # No `choices`: with `nargs="*"` they would refuse the empty list.
    parser.add_argument(
        "libraries", nargs="*", metavar="NAME", help="torch, jax, onnx; default all"
    )
    names = parser.parse_args().libraries or [*PACKAGES]
    for name in names:
        if name not in PACKAGES:
            parser.error(f"there is no {name}; there are {', '.join(PACKAGES)}")
    for name in names:
        make(name)


if __name__ == "__main__":
    main()
