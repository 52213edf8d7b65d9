"""Write what documents take from the code: configuration.md, and the marked parts of formats.md.

`make docs` runs it; tests/unit/test_documents.py fails while a document is stale.
"""

import re
from pathlib import Path

from cloudmask.config.document import json_schema, model_tables
from cloudmask.config.settings import Config
from cloudmask.experiments.executors import EXECUTORS
from cloudmask.experiments.experiment import ExperimentFile
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory

DOCS = Path(__file__).resolve().parent
SITES = {
    "slurm": ("Slurm", "the default, if a site file names no executor"),
    "lsf": ("LSF", "`executor: lsf`"),
    "ssh": ("Hosts reached by ssh", "`executor: ssh`"),
}
CONFIGURATION = """\
# Configuration files

<!-- Written by docs/generate.py from the descriptions in the code: edit those, run `make docs`. -->

All files are YAML. A key that is not listed here is an error, which names the nearest known key.
Numbers may be written as `1e-3`. In the tables `NAME` stands for a key of your choice and `[]` for
each item of a list; text is checked against the pattern in the column "values", if there is one.

- [Configuration of a run](#configuration-of-a-run): `cloudmask-train --config FILE`
- [Experiment file](#experiment-file): `cloudmask-grid plan FILE`; explained in
  [experiments.md](experiments.md)
- [Site files](#site-files): `cloudmask-grid submit paper --site NAME`; explained in
  [slurm/README.md](../slurm/README.md)

## Configuration of a run

The files in `app/configs/` are examples. Every key has a default, which is the paper's setting, so
that a file holds only what differs. `--set training.epochs=10` overrides one key, and may be
repeated. `cloudmask config` prints all keys, `cloudmask config FILE` all that a file sets. The
complete configuration of a run is written to `config.yaml` in its directory.

{run}
## Experiment file

{experiment}
## Site files

A site file is found by its path, or by its name under `slurm/sites/`. Which keys it may hold
depends on its `executor`.
{sites}"""


def configuration() -> str:
    """The text of docs/configuration.md."""
    return CONFIGURATION.format(
        run=model_tables(Config),
        experiment=model_tables(ExperimentFile),
        sites="".join(_site(name) for name in EXECUTORS if EXECUTORS[name].site_model),
    )


def _site(executor: str) -> str:
    title, how = SITES[executor]
    model = EXECUTORS[executor].site_model
    assert model is not None
    summary = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    return f"\n### {title}: {how}\n\n{summary}\n\n{model_tables(model, level=4)}"


def run_directory() -> str:
    """A table of the files of a run, from the names and docstrings of RunDirectory."""
    example = RunDirectory("")
    lines = ["| file | holds |", "|---|---|"]
    for name, attribute in vars(RunDirectory).items():
        path = getattr(example, name) if isinstance(attribute, property) else None
        if isinstance(path, Path):
            lines.append(f"| `{path}` | {' '.join((attribute.__doc__ or '').split())} |")
    return "\n".join(lines) + "\n"


def with_parts(text: str, parts: dict[str, str]) -> str:
    """`text` with each part between its two marks replaced; raises ValueError without marks."""
    for name, content in parts.items():
        begin, end = f"<!-- {name}: written by docs/generate.py -->\n", f"<!-- end of {name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"no marks of '{name}'; expected {begin.strip()} … {end}")
        replacement = f"{begin}\n{content}\n{end}"
        text = pattern.sub(lambda _, new=replacement: new, text, count=1)
    return text


def documents() -> dict[Path, str]:
    """The text that each generated document should have."""
    formats = DOCS / "formats.md"
    parts = {"run directory": run_directory(), "result": model_tables(Result)}
    return {
        DOCS / "configuration.md": configuration(),
        DOCS / "result.schema.json": json_schema(Result) + "\n",
        formats: with_parts(formats.read_text(encoding="utf-8"), parts),
    }


def main() -> None:
    """Write every document that is stale."""
    for path, text in documents().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
