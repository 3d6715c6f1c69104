"""Make or update a virtual environment with the pinned dependencies: plain python3, venv and pip.

Written so that a Python that is too old still reads it, and says so.
"""

import os
import subprocess
import sys

OLDEST = (3, 11)


def main():
    """Usage: make_venv.py FOLDER STAMP [EXTRAS]; STAMP is a file in FOLDER that says when it was done."""
    folder, stamp = sys.argv[1:3]
    extras = f"[{sys.argv[3]}]" if len(sys.argv) > 3 else ""
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"dicomwire needs Python 3.11 or newer; {sys.executable} is {have}. Try PYTHON=python3.12")
    python = os.path.join(folder, "bin", "python")
    if not works(python):
        make(folder)
    print(f"Installing dicomwire and what it needs into {folder} ...", flush=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    if subprocess.call([*install, "--constraint", "constraints.txt", "--editable", "." + extras]):
        sys.exit("pip could not install the dependencies: its message is above")
    subprocess.call([python, "-m", "compileall", "-q", "src"])  # so that the first start is a fast one, too
    with open(os.path.join(folder, stamp), "w"):
        pass


def works(python):
    """Whether an environment's Python runs and has pip: the one it was made from may be gone."""
    if not os.path.exists(python):
        return False
    return not subprocess.call([python, "-c", "import pip"], stderr=subprocess.DEVNULL)


def make(folder):
    """Make the environment; say what is missing where the system's Python comes without venv."""
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        name = "python{}.{}-venv".format(*sys.version_info[:2])
        sys.exit(f"This Python has no venv. On Debian or Ubuntu: apt-get install {name}")
    print(f"Making the virtual environment {folder} ...", flush=True)
    venv.create(folder, clear=True, with_pip=True)


if __name__ == "__main__":
    main()
