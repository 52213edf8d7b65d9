"""Build an image of the bundle from cloudmask.def for a base of base_images.yaml.

containers/build.py --gpu k80 --wheels build/wheels/k80 --out cloudmask-k80.sif
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "app" / "src"), str(Path(__file__).parent)]

from sources import base_digest, debian_mirror  # noqa: E402

from cloudmask import __version__  # noqa: E402
from cloudmask.errors import Fault, InputError  # noqa: E402
from cloudmask.hardware import container_image  # noqa: E402
from cloudmask.hardware.base_images import BaseImage, read_base_images  # noqa: E402
from cloudmask.system import files, process  # noqa: E402
from cloudmask.system.disk import free_space  # noqa: E402

DEFINITION = Path("containers/cloudmask.def")
# Debian needs the interpreter and what serves HTTPS; everything else comes as wheels.
DEBIAN_PACKAGES = "python3 ca-certificates"

EPILOG = """\
Certificates (CA_BUNDLE, default SSL_CERT_FILE) and proxy (default https_proxy) serve the programs
that fetch the base; nothing of them enters the image. Temporary files and the cache lie below
build/ unless APPTAINER_TMPDIR and APPTAINER_CACHEDIR, or --tmp and --cache, name others; on a
cluster let --tmp be node-local, since parallel file systems refuse what a build does.
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--base", default="", help="name in base_images.yaml (default: its default)")
    p.add_argument("--gpu", default="", help="or the GPU that the image is for")
    p.add_argument("--out", type=Path, required=True, metavar="F.sif", help="the image")
    p.add_argument("--wheels", type=Path, required=True, metavar="DIR", help="of wheels.py")
    p.add_argument("--bootstrap", default="", help="instead of the base's: docker, localimage, …")
    p.add_argument("--from", dest="address", default="", help="instead of the base's address")
    p.add_argument("--digest", default="", help="sha256:… of the base, if the registry is away")
    p.add_argument("--mirror", default="", help="Debian's mirror (default: this machine's apt's)")
    p.add_argument("--ca-bundle", default="", metavar="FILE", help="certificates of a proxy")
    p.add_argument("--proxy", default="", metavar="URL", help="for HTTP and HTTPS")
    p.add_argument("--tmp", type=Path, metavar="DIR", help="temporary files, many GB")
    p.add_argument("--cache", type=Path, metavar="DIR", help="downloaded layers")
    p.add_argument("--plain-http", action="store_true", help="the registry speaks no HTTPS")
    p.add_argument("--squashfs", default="", metavar="ARGS", help="for mksquashfs")
    p.add_argument("--runtime", default="", help="default: apptainer, else singularity")
    p.add_argument("--dry-run", action="store_true", help="print the command, touch nothing")
    p.add_argument(
        "--definition", action="store_true", help="print the definition as built, touch nothing"
    )
    return p


def main() -> int:
    """Entry point."""
    arguments = parser().parse_args()
    os.chdir(ROOT)  # paths in the definition are relative to it
    try:
        build(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Fault, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


@dataclass(frozen=True)
class Source:
    """Where the base comes from; `mirror` is Debian's, "none" where it is not of use."""

    bootstrap: str
    address: str
    mirror: str


def build(arguments: argparse.Namespace) -> None:
    """Check what can be checked, build under a temporary name, rename; the checksum beside it."""
    base = read_base_images().choose(arguments.base, arguments.gpu)
    source = choose_source(arguments, base)
    if arguments.definition:
        values = build_values(arguments, base.name, source, arguments.digest)
        print(render(DEFINITION.read_text(encoding="utf-8"), values))
        return
    runtime = find_runtime(arguments.runtime)
    environment = build_environment(arguments)
    digest = arguments.digest
    if not arguments.dry_run:
        if source.bootstrap == "debootstrap" and not shutil.which("debootstrap"):
            raise InputError("debootstrap: not found; install the package debootstrap")
        check(arguments, base, environment)
        digest = digest or base_digest(
            source.bootstrap,
            source.address,
            source.mirror,
            environment.get("SSL_CERT_FILE"),
            arguments.plain_http,
        )
    values = build_values(arguments, base.name, source, digest)
    if arguments.dry_run:
        temporary = files.temporary_path(arguments.out)
        print(shlex.join(build_command(arguments, runtime, values, temporary)))
        return
    with files.replacing(arguments.out) as temporary:
        command = build_command(arguments, runtime, values, temporary)
        print(shlex.join(command), flush=True)
        run_build(command, environment)
    container_image.write_beside(arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.0f} MB")


def run_build(command: list[str], environment: dict[str, str]) -> None:
    """Run the build, which ends with this process; raises Fault if it fails."""
    done = process.run(command, signal.SIGTERM, env=environment)
    if done.returncode:
        raise Fault(f"the build failed (exit {done.returncode}); its messages are above")


def choose_source(arguments: argparse.Namespace, base: BaseImage) -> Source:
    """Where the base comes from: as its entry has it, unless the command line has another."""
    bootstrap = arguments.bootstrap or base.bootstrap
    address = arguments.address or base.address
    if bootstrap == "debootstrap":
        return Source(bootstrap, address, arguments.mirror or debian_mirror(address))
    return Source(bootstrap, address, "none")


def build_values(
    arguments: argparse.Namespace, base: str, source: Source, digest: str
) -> dict[str, str]:
    """The build arguments of the definition, by name; `digest` is "" where it is not known."""
    by_digest = source.bootstrap == "docker" and digest
    debian = source.bootstrap == "debootstrap"
    return {
        "BOOTSTRAP": source.bootstrap,
        "FROM": pinned(source.address, digest) if by_digest else source.address,
        "SUITE": source.address if debian else "none",
        "MIRROR": source.mirror,
        "INCLUDE": DEBIAN_PACKAGES if debian else "",
        "BASE": base,
        "DIGEST": digest or "unknown",
        "WHEELS": str(arguments.wheels),
        "VERSION": __version__,
        "COMMIT": commit(),
        "CREATED": created(),
        "SOURCE_DATE_EPOCH": source_date_epoch(),
    }


def build_command(
    arguments: argparse.Namespace, runtime: list[str], values: dict[str, str], image: Path
) -> list[str]:
    """The command line that builds `image`."""
    command = [*runtime, "build", "--force"]
    if arguments.plain_http:
        command.append("--no-https")
    if arguments.squashfs:
        command += ["--mksquashfs-args", arguments.squashfs]
    for name, value in values.items():
        command += ["--build-arg", f"{name}={value}"]
    return [*command, str(image), str(DEFINITION)]


def render(definition: str, values: dict[str, str]) -> str:
    """The definition as the runtime builds it: with the values filled in.

    The section %arguments is left out: the values stand for its defaults.
    """
    text = re.sub(r"^%arguments\n(?:  .*\n)*\n", "", definition, flags=re.MULTILINE)
    return re.sub(r"{{ (\w+) }}", lambda found: values[found[1]], text).rstrip("\n")


def find_runtime(requested: str) -> list[str]:
    """The command that builds: the requested one, else apptainer or singularity."""
    for name in [requested] if requested else ["apptainer", "singularity"]:
        command = shlex.split(name)
        if shutil.which(command[0]):
            return command
    raise InputError(
        f"{requested or 'apptainer, singularity'}: not found; on a cluster try "
        "'module load apptainer', on a Debian machine tests/env/apptainer.sh"
    )


def build_environment(arguments: argparse.Namespace) -> dict[str, str]:
    """The environment of the build: folders, certificates, proxy, date of files."""
    environment = dict(os.environ)
    tmp = arguments.tmp or environment.get("APPTAINER_TMPDIR") or ROOT / "build" / "tmp"
    cache = arguments.cache or environment.get("APPTAINER_CACHEDIR") or ROOT / "build" / "cache"
    for runtime in ("APPTAINER", "SINGULARITY"):
        environment[f"{runtime}_TMPDIR"] = str(Path(tmp).resolve())
        environment[f"{runtime}_CACHEDIR"] = str(Path(cache).resolve())
    bundle = arguments.ca_bundle or environment.get("SSL_CERT_FILE", "")
    if arguments.ca_bundle and not Path(bundle).is_file():
        raise InputError(f"CA_BUNDLE={bundle}: no such file; expected certificates in PEM format")
    if bundle:
        environment |= dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE"), str(bundle))
    if arguments.proxy:
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        environment |= dict.fromkeys(names, arguments.proxy)
    environment["SOURCE_DATE_EPOCH"] = source_date_epoch()
    return environment


def check(arguments: argparse.Namespace, base: BaseImage, environment: dict[str, str]) -> None:
    """Refuse early: no wheels, or too little space for what the build writes."""
    if not (arguments.wheels / "app.txt").exists():
        raise InputError(f"{arguments.wheels}: no wheelhouse; make it with: make wheels")
    needed = {environment["APPTAINER_TMPDIR"]: base.space_gb}
    needed.setdefault(environment["APPTAINER_CACHEDIR"], base.space_gb // 2)
    for folder, gigabytes in needed.items():
        Path(folder).mkdir(parents=True, exist_ok=True)
        free = free_space(folder) / 1e9
        if free < gigabytes:
            raise InputError(
                f"{folder}: {free:.1f} GB free, a build on {base.name} needs about {gigabytes} GB; "
                "give another folder with TMP= (temporary files) or CACHE= (layers)"
            )


def pinned(address: str, digest: str) -> str:
    """The address by digest instead of tag, so that exactly what was looked up is fetched."""
    return f"{address.split('@')[0].rpartition(':')[0] or address}@{digest}"


def source_date_epoch() -> str:
    """Date of the image's files: what the environment gives, else that of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return given or git("log", "-1", "--format=%ct") or "315532800"


def created() -> str:
    """Date of the build, or that of SOURCE_DATE_EPOCH where someone set it to get equal images."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    when = time.gmtime(int(epoch)) if epoch else time.gmtime()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", when)


def commit() -> str:
    """Commit of the tree, with "-dirty" if files differ from it; "unknown" outside git."""
    head = git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    return head + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")


def git(*arguments: str) -> str:
    """Output of git, "" where it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
