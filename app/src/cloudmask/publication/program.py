"""Where the program that made a result can be found: repository, branch, commit and tag."""

import re
from collections.abc import Mapping
from typing import Any

# The published benchmark that the program implements.
BENCHMARK = "https://github.com/mlcommons/science/tree/main/benchmarks/cloudmask"
# Instead of a repository that only its owner's machine knows.
NOT_PUBLISHED = "not published"


def location(git: Mapping[str, Any], who: Mapping[str, Any]) -> dict[str, str | None]:
    """Where the program is: `repository`, `branch`, `commit` and `tag`; None where nobody knows.

    `who`, the section `submission` of a configuration, wins over `git`, what the run found out. A
    repository that nobody else can follow, a path on some disk, becomes NOT_PUBLISHED.
    """
    found = {key: who.get(key) or git.get(key) for key in ("repository", "branch", "tag")}
    if found["repository"] and web_address(found["repository"]) is None:
        found["repository"] = NOT_PUBLISHED
    return found | {"commit": git.get("commit")}


def web_address(repository: Any) -> str | None:
    """The https address of a repository as git knows it, such as git@github.com:owner/name.git.

    None for a path on some disk, which nobody else can follow.
    """
    if not isinstance(repository, str):
        return None
    plain = re.fullmatch(
        r"(?:(?:ssh|git)://)?(?:[^@/]+@)?([\w.-]+\.\w+)[:/](?!/)(.+?)(?:\.git)?/?", repository
    )
    if match := re.fullmatch(r"https?://(?:[^@/]+@)?(.+?)(?:\.git)?/?", repository):
        return f"https://{match[1]}"
    return f"https://{plain[1]}/{plain[2]}" if plain else None
