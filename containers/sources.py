"""Where bases come from: registries, local images, Debian's mirror; and the digest of each."""

import hashlib
import json
import re
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.system import files

SECONDS = 60
DOCKER_HUB = "registry-1.docker.io"
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def debian_mirror(suite: str) -> str:
    """The mirror of a Debian suite that this machine's own apt uses; raises InputError."""
    arguments = ("indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages")
    try:
        done = subprocess.run(["apt-get", *arguments], capture_output=True, text=True)
        lines = done.stdout.split("\n")
    except OSError:
        lines = []
    for line in lines:
        found, _, mirror = line.partition(" ")
        if found == suite:
            return mirror
    raise InputError(
        f"no mirror of Debian {suite} in this machine's apt sources; give one with MIRROR="
    )


def base_digest(
    bootstrap: str, address: str, mirror: str, ca_bundle: str | None, plain_http: bool
) -> str:
    """What identifies the base, as "sha256:…"; "none" for a folder. Raises InputError.

    Of a registry the manifest's digest, of an image file its content's, of Debian that of the
    signed list (InRelease) of the suite's state.
    """
    if bootstrap == "localimage":
        if not Path(address).exists():
            raise InputError(f"{address}: no such image; expected a .sif or a sandbox folder")
        return f"sha256:{files.sha256(address)}" if Path(address).is_file() else "none"
    context = ssl.create_default_context(cafile=ca_bundle)
    if bootstrap == "debootstrap":
        url = f"{mirror.rstrip('/')}/dists/{address}/InRelease"
        with _open(urllib.request.Request(url), context, "MIRROR=") as answer:
            return f"sha256:{hashlib.sha256(answer.read()).hexdigest()}"
    if bootstrap == "docker":
        return _manifest_digest(address, context, "http" if plain_http else "https")
    return "none"


def _manifest_digest(address: str, context: ssl.SSLContext, scheme: str) -> str:
    name, _, digest = address.partition("@")
    if digest:
        return digest
    host, _, path = name.removeprefix("//").partition("/")
    if "." not in host and ":" not in host:  # Docker Hub: tensorflow/tensorflow:tag
        host, path = DOCKER_HUB, name
    path, _, tag = path.partition(":")
    url = f"{scheme}://{host}/v2/{path}/manifests/{tag or 'latest'}"
    headers = {"Accept": ", ".join(MANIFESTS)}
    request = urllib.request.Request(url, headers=headers, method="HEAD")
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS, context=context)
    except urllib.error.HTTPError as error:
        challenge = error.headers.get("WWW-Authenticate", "")
        if error.code != 401 or not challenge.startswith("Bearer"):
            raise InputError(f"{url}: {error}; expected the manifest of the base image") from None
        request.add_header("Authorization", f"Bearer {_token(challenge, context)}")
        answer = _open(request, context, "DIGEST=sha256:…")
    except OSError as error:
        raise _away(url, error, "DIGEST=sha256:…") from None
    with answer:
        return answer.headers["Docker-Content-Digest"]


def _token(challenge: str, context: ssl.SSLContext) -> str:
    """An anonymous token, from the address that the registry names."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = urllib.parse.urlencode({k: fields[k] for k in ("service", "scope") if k in fields})
    request = urllib.request.Request(f"{fields['realm']}?{query}")
    with _open(request, context, "DIGEST=sha256:…") as answer:
        found = json.load(answer)
    return found.get("token") or found["access_token"]


def _open(request: urllib.request.Request, context: ssl.SSLContext, option: str):
    try:
        return urllib.request.urlopen(request, timeout=SECONDS, context=context)
    except OSError as error:
        raise _away(request.full_url, error, option) from None


def _away(url: str, error: OSError, option: str) -> InputError:
    reason = getattr(error, "reason", error)
    hint = (
        "its certificate is not trusted: give CA_BUNDLE="
        if "CERTIFICATE" in str(reason)
        else (f"give PROXY=, or {option}")
    )
    return InputError(f"{url}: cannot be reached ({reason}); {hint}")
