"""Validate an RO-Crate without a network; run by the Python of the validator's own environment.

    python check_crate.py CRATE CACHE

Prints a line for each requirement, required or recommended, that the crate does not meet. CACHE:
prefix of the file into which the contexts of tests/support/contexts are put for the validator.
"""

import io
import sys
from pathlib import Path

import requests
import urllib3
from requests_cache import CachedSession
from rocrate_validator import services
from rocrate_validator.models import ValidationSettings

CONTEXTS = {"https://w3id.org/ro/crate/1.1/context": "ro-crate-1.1.jsonld"}
PROFILE = "process-run-crate"


class Bundled(requests.adapters.HTTPAdapter):
    """Answers with the file that is bundled for an address."""

    def send(self, request, **_):
        path = Path(__file__).with_name("contexts") / CONTEXTS[request.url]
        answer = urllib3.HTTPResponse(
            body=io.BytesIO(path.read_bytes()),
            headers={"Content-Type": "application/ld+json"},
            status=200,
            preload_content=False,
            request_url=request.url,
        )
        return self.build_response(request, answer)


def main(crate: str, cache: str) -> int:
    """Validate; the exit code is 0 if the crate meets all that is required and recommended."""
    session = CachedSession(cache_name=cache, backend="sqlite", expire_after=-1)
    session.mount("https://", Bundled())
    for address in CONTEXTS:
        session.get(address)
    session.close()
    settings = ValidationSettings(
        rocrate_uri=crate,
        profile_identifier=PROFILE,
        requirement_severity="RECOMMENDED",
        cache_path=Path(cache),
        offline=True,
    )
    result = services.validate(settings)
    for issue in result.get_issues():
        print(f"{issue.severity.name} {issue.check.identifier}: {issue.message}")
    return 0 if result.passed() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
