"""Makes the inputs, and runs every command undisturbed to know what it leaves."""

import hashlib
import json
import os
import shutil
import signal
import time
from dataclasses import asdict

from attack import launch, shim
from attack.contents import contents, differences
from attack.ground import BUCKET, PREFIX, S3, SIZE, Ground, Reference, ground
from attack.launch import Running, Stage, Start
from attack.workloads import Workload, available

SCENES = {"training": 4, "inference": 1}
EXPERIMENT = """\
name: e
parameters:
  model.filters: 2
  training.batch_size: 2
  training.epochs: 3
  training.deterministic: true
  early_stopping.patience: 3
  checkpoint.minutes: 0.002
  submission.organization: A University
  submission.platform: Two Cores
  submission.name: Ada
  submission.user: ada
  submission.email: ada@example.org
repeats: 2
"""


def build(times: int) -> list[str]:
    """Make the inputs and run every workload, twice perhaps; returns what differs then.

    Nothing if it was done before, in the same folder.
    """
    made = ground()
    if os.environ.get(S3):
        _upload()
    if (made.folder / "references.json").exists():
        return []
    _make(made)
    found, trouble = {}, []
    for workload in available():
        references = [_reference(workload) for _ in range(times)]
        found[workload.name] = references[-1]
        unequal = differences(references[0].contents, references[-1].contents)
        trouble += [f"{workload.name}: {failure.text}" for failure in unequal]
    text = json.dumps({name: asdict(reference) for name, reference in found.items()}, indent=1)
    (made.folder / "references.json").write_text(text)
    return trouble


def _reference(workload: Workload) -> Reference:
    folder = ground().folder / "undisturbed"
    shutil.rmtree(folder, ignore_errors=True)
    stage = Stage(folder)
    workload.setup(ground(), stage.work)
    counter = shim.State(folder / "shim", stage.work, shim.Fault())
    arguments = workload.arguments(ground(), stage.work)
    ended = launch.run(workload.command, arguments, stage, Start(fault=counter))
    if ended.code != 0:
        raise RuntimeError(f"{workload.name}, undisturbed: {ended.code} {ended.errors}")
    reference = Reference(ended.seconds, counter.count, contents(stage.work))
    shutil.rmtree(folder)
    return reference


def _make(made: Ground) -> None:
    made.experiment.write_text(EXPERIMENT)
    counts = ("--train", SCENES["training"], "--test", SCENES["inference"])
    _must("cloudmask-synth", "--out", made.scenes, *counts, "--size", SIZE, "--workers", 1)
    _must("cloudmask-prepare", "--scenes", made.scenes, "--out", made.store, "--workers", 1)
    _must("cloudmask-overlay", made.store, "--scenes", made.scenes, "--out", made.overlay)
    for index in (1, 2):
        _must("cloudmask-grid", "run", made.experiment, "--runs", made.runs, "--index", index,
              "--data", made.store, "--scenes", made.scenes)  # fmt: skip
    _leave_dead_copy(made)


def _must(name: str, *arguments: object) -> None:
    ended = launch.run(name, list(arguments), Stage(ground().folder / "making"))
    if ended.code != 0:
        raise RuntimeError(f"{name}: {ended.code} {ended.errors}")


def _leave_dead_copy(made: Ground) -> None:
    """What a killed `share` leaves on a node."""
    made.dead_node.mkdir()
    stage = Stage(made.folder / "making")
    pipe = made.folder / "stdin"
    os.mkfifo(pipe)
    opened = os.open(pipe, os.O_RDWR)
    arguments = ["share", made.overlay, "--local", made.dead_node]
    command = Running("cloudmask-stage", arguments, stage, Start(stdin=pipe))
    until = time.monotonic() + launch.SECONDS
    while command.output.count("\n") < 3 and time.monotonic() < until:
        time.sleep(0.05)
    command.send(signal.SIGKILL)
    command.end()
    os.close(opened)
    pipe.unlink()


def objects() -> dict[str, bytes]:
    """What the S3 server holds, by the path below the output folder."""
    names = [f"{part}/S3A_{n}.hdf" for part in ("training", "inference") for n in range(3)]
    return {n: hashlib.sha256(n.encode()).digest() * 40_001 for n in names}


def _upload() -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=os.environ[S3],
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    client.create_bucket(Bucket=BUCKET)
    for name, content in objects().items():
        client.put_object(Bucket=BUCKET, Key=f"{PREFIX}{name}", Body=content, ACL="public-read")
