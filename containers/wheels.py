"""Make the wheelhouse of an image on the host, so that its build needs no Python from the network.

containers/wheels.py --base ngc-24.03 --out build/wheels/ngc-24.03
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "app" / "src"))

from cloudmask.errors import InputError  # noqa: E402
from cloudmask.hardware.base_images import BaseImage, read_base_images  # noqa: E402
from cloudmask.system import files  # noqa: E402
from cloudmask.system.distribution import DISTRIBUTION  # noqa: E402

LOCKS = ROOT / "app" / "locks"
# glibc 2.28 and older: every base has a newer one.
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--base", default="", help="name in base_images.yaml (default: its default)"
    )
    parser.add_argument("--gpu", default="", help="or the GPU that the base is for")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="wheelhouse")
    arguments = parser.parse_args()
    try:
        make_wheelhouse(read_base_images().choose(arguments.base, arguments.gpu), arguments.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_wheelhouse(base: BaseImage, out: Path) -> None:
    """Fill `out` with the app's wheel, the pinned wheels for the base's Python, and their lists.

    `app.txt` lists what the app adds; `base.txt`, for a base without TensorFlow, what makes it one.
    """
    lock = LOCKS / f"image-py{base.python.replace('.', '')}.txt"
    if not lock.exists():
        raise InputError(
            f"{base.name}: no {lock.name} for its Python {base.python}; see make locks"
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    download(base.python, lock, out)
    if base.bootstrap == "debootstrap":
        base_lock = LOCKS / "base-cpu.txt"
        download(base.python, base_lock, out)
        shutil.copy(base_lock, out / "base.txt")
    wheel = app_wheel(out)
    name, version = wheel.name.split("-")[:2]
    line = f"{name}=={version} --hash=sha256:{files.sha256(wheel)}\n"
    (out / "app.txt").write_text(lock.read_text(encoding="utf-8") + line, encoding="utf-8")
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    print(f"{out}: {len(list(out.glob('*.whl')))} wheels for Python {base.python}, {size:.0f} MB")


def download(python: str, lock: Path, out: Path) -> None:
    """Download what the lock lists, checked by its hashes, whatever Python this is."""
    pip(
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--implementation",
        "cp",
        "--python-version",
        python,
        "--abi",
        "none",
        "--abi",
        "abi3",
        "--abi",
        f"cp{python.replace('.', '')}",
        *(option for platform in PLATFORMS for option in ("--platform", platform)),
        "--dest",
        out,
        "-r",
        lock,
    )


def app_wheel(out: Path) -> Path:
    """Build the app's wheel from a copy: setuptools would pack leftovers of its earlier builds."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "app"
        skip = shutil.ignore_patterns("*.egg-info", "__pycache__", "build", ".*")
        shutil.copytree(ROOT / "app", tree, ignore=skip)
        pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, tree)
    return next(out.glob(f"{DISTRIBUTION.replace('-', '_')}-*.whl"))


def pip(*arguments) -> None:
    """Run pip; its own message names what failed."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # The date inside the wheel; zip knows none before 1980.
    environment = {"SOURCE_DATE_EPOCH": "315532800"} | dict(os.environ)
    done = subprocess.run([*command, *map(str, arguments)], env=environment)
    if done.returncode:
        raise InputError(
            f"pip {arguments[0]} failed (exit {done.returncode}); behind a proxy or without the "
            "public index, give PROXY=, CA_BUNDLE= or PIP_INDEX_URL="
        )


if __name__ == "__main__":
    sys.exit(main())
