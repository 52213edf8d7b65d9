"""A real Slurm on this machine, and the tree that an ordinary user submits jobs from."""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from support import machine

NODES = 6
PROCESSORS = 8  # of each node, as Slurm believes
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
GRID = Path(sys.executable).with_name("cloudmask-grid")
SCRIPT = machine.REPOSITORY / "tests/env/slurm.sh"


@dataclass
class Cluster:
    """The cluster; `root` holds what its shared file system would: image, overlay, scenes, tree."""

    root: Path
    home: Path
    submitted: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        """The user's checkout: job scripts, experiment files, runs."""
        return self.root / "tree"

    def run(self, *words, **variables) -> subprocess.CompletedProcess:
        """Run a command as the user in his tree, with hardly any environment."""
        clean = {"HOME": self.home, "USER": machine.USER, "PATH": os.environ["PATH"]}
        clean |= {"CLOUDMASK_TEST": self.root} | variables
        return subprocess.run(
            ["runuser", "-u", machine.USER, "--", "env", "-i"]
            + [f"{name}={value}" for name, value in clean.items()]
            + list(map(str, words)),
            cwd=self.tree,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=600,
        )

    def experiment(self, name: str, repeats: int = 1, **parameters) -> str:
        """Write an experiment of tiny runs; returns its file's name."""
        settings = {"model.filters": 4, "training.epochs": 2, "training.batch_size": 4}
        settings |= {key.replace("__", "."): value for key, value in parameters.items()}
        text = json.dumps({"name": name, "repeats": repeats, "parameters": settings})
        (self.tree / f"{name}.yaml").write_text(text)
        return f"{name}.yaml"

    def submit(self, experiment: str, *options, gpu="cpu", index=None, grid=(), **variables) -> str:
        """Submit what `cloudmask-grid submit` prints, with more options; returns its number."""
        words = ["submit", experiment, "--site", "test-cluster", "--gpu", gpu, *grid]
        return self._send([*words, *(["--index", index] if index else [])], options, variables)

    def batch(self, script: str, *options, gpu="cpu", grid=(), arguments=(), **variables) -> str:
        """The same for `cloudmask-grid batch` with another script."""
        words = ["batch", script, *arguments, "--site", "test-cluster", "--gpu", gpu, *grid]
        return self._send(words, options, variables)

    def _send(self, words: Sequence[str], options: Sequence[str], variables: dict) -> str:
        shown = subprocess.run(
            [GRID, *map(str, words), "--dry-run"], cwd=self.tree, capture_output=True, text=True
        )
        assert shown.returncode == 0, shown.stderr
        line = shlex.split(shown.stdout)
        script = next(i for i, word in enumerate(line) if word.endswith(".sbatch"))
        # Of two options that differ sbatch takes the last.
        done = self.run(*line[:script], "--parsable", *options, *line[script:], **variables)
        assert done.returncode == 0, done.stderr
        self.submitted.append(done.stdout.strip())
        return self.submitted[-1]

    def exports(self, **changed) -> str:
        """The variables of the site, as --export has them, some changed."""
        done = subprocess.run(
            [GRID, "site", "test-cluster", "--gpu", "cpu"],
            cwd=self.tree,
            capture_output=True,
            text=True,
            check=True,
        )
        values = dict(line.split("=", 1) for line in done.stdout.splitlines())
        return ",".join(f"{name}={value}" for name, value in (values | changed).items())

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job, or of a task such as 12_3."""
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", number], capture_output=True, text=True
        )
        # Of an array with several records the first is meant.
        return dict(re.findall(r"(\S+?)=(\S*)", done.stdout.split("\n")[0]))

    def number(self, task: str) -> str:
        """A task's own number, once it runs: before, all of an array have the array's."""
        words = ["squeue", "--noheader", "--states=RUNNING", f"--jobs={task}", "--format=%A"]

        def own():
            return subprocess.run(words, capture_output=True, text=True).stdout.strip()

        return self.until(own, f"{task} begins")

    def wait(self, *jobs: str, state="COMPLETED", seconds=900, **others: str) -> None:
        """Wait until all tasks of the jobs have ended, in this state; `others`: _4="FAILED"."""
        deadline = time.monotonic() + seconds
        while self.queued(*jobs):
            assert time.monotonic() < deadline, self.queue_and_logs(*jobs)
            time.sleep(0.2)
        for job in jobs:
            done = subprocess.run(
                ["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True
            )
            for line in done.stdout.splitlines():
                found = dict(re.findall(r"(\S+?)=(\S*)", line))
                expected = others.get(f"_{found.get('ArrayTaskId')}", state)
                assert found["JobState"] == expected, (
                    f"{found['JobState']}: {self.queue_and_logs(job)}"
                )

    def queued(self, *jobs: str) -> str:
        """Tasks of the jobs that wait or run."""
        words = ["squeue", "--noheader", "--array", "--format=%i %T", f"--jobs={','.join(jobs)}"]
        return subprocess.run(words, capture_output=True, text=True).stdout

    def idle(self, seconds: float = 120) -> None:
        """Wait until the queue is empty: a last small job may tidy up."""
        words = ["squeue", "--noheader"]
        self.until(
            lambda: not subprocess.run(words, capture_output=True, text=True).stdout,
            "jobs that still wait or run",
            seconds,
            every=0.3,
        )

    def log(self, job: str) -> str:
        """What a task such as 12_3 has written, "" before it began."""
        texts = [p.read_text() for p in self.tree.glob(f"slurm/logs/*-{job}.log")]
        return "".join(texts)

    def queue_and_logs(self, *jobs: str) -> str:
        """Queue and logs, for a failed test."""
        logs = [p for job in jobs for p in sorted(self.tree.glob(f"slurm/logs/*-{job}[_.]*"))]
        return self.queued(*jobs) + "".join(f"\n== {p.name}\n{p.read_text()[-1500:]}" for p in logs)

    def until(self, condition, what: str, seconds: float = 180, every: float = 0.02):
        """Wait for something to become true; returns it."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, (
                f"{what}: {self.queue_and_logs(*self.submitted[-3:])}"
            )
            time.sleep(every)
        return found

    def processes(self, job: str, *words: str) -> list[psutil.Process]:
        """Processes of a task (its own number, not 12_3) whose command line has all these words."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if all(any(word in part for part in line) for word in words) and (
                    process.environ().get("SLURM_JOB_ID") == job
                ):
                    found.append(process)
        return found

    def program(self, job: str, name: str, *words: str) -> psutil.Process | None:
        """The Python process in a task's container that runs a command, once it is there."""
        found = self.processes(job, f"bin/{name}", *words)
        return found[0] if found else None

    def result(self, experiment: str, row: str = "*") -> list[dict]:
        """Results of the finished runs of an experiment, by row."""
        paths = sorted(self.tree.glob(f"runs/{experiment}/{row}/result.json"))
        return [json.loads(path.read_text()) for path in paths]

    def left(self) -> list[Path]:
        """What lies on the nodes' own disks."""
        return [path for node in (self.root / "local").iterdir() for path in node.rglob("*")]

    def clear(self) -> None:
        """Empty the nodes' own disks, so that one test's leftovers do not fail the next."""
        for node in (self.root / "local").iterdir():
            for path in node.iterdir():
                shutil.rmtree(path)

    @contextlib.contextmanager
    def little_space(self, node: str, size: str):
        """A node's own disk of this size, as mount has it, for the block."""
        directory = self.root / "local" / node
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=1777", "cloudmask", directory]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small file system can be made here: {done.stderr.strip()}")
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)

    def node(self, name: str, action: str) -> None:
        """Bring a node up, or kill it with all that runs on it."""
        subprocess.run(["bash", SCRIPT, "node", self.root / "daemons", name, action], check=True)


@contextlib.contextmanager
def running(image: machine.Image, home: Path, patches: Path, scenes: Path):
    """The cluster, from its start to its end; one at a time on this machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can bring a Slurm cluster")
    with (machine.KEPT / "slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = machine.shared_folder("slurm")
        (root / "cloudmask-cpu.sif").symlink_to(image.path)
        for part in ("slurm", "overlays", "app/src", "app/configs"):
            shutil.copytree(machine.REPOSITORY / part, root / "tree" / part, symlinks=True)
        shutil.copytree(scenes, root / "inference")
        shutil.copyfile(patches, root / "patches.h5")
        make = [sys.executable, machine.REPOSITORY / "overlays/make-overlay", root / "patches.h5"]
        subprocess.run(make, check=True, capture_output=True)
        for number in range(1, NODES + 1):
            (root / "local" / f"n{number}").mkdir(parents=True)
        subprocess.run(["chown", "-R", machine.USER, root], check=True)
        daemons = root / "daemons"
        words = ["bash", SCRIPT, "start", daemons, str(NODES), str(PROCESSORS)]
        begun = subprocess.run(words, capture_output=True, text=True)
        assert begun.returncode == 0, begun.stderr
        try:
            yield Cluster(root, home)
        finally:
            subprocess.run(["bash", SCRIPT, "stop", daemons], check=True)
