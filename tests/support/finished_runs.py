"""Finished runs made by hand: all files of one, with given figures, without a training."""

import json
import shlex
from pathlib import Path

from cloudmask.config.settings import Config, make_config
from cloudmask.record import provenance
from cloudmask.record.described_data import DataDescription
from cloudmask.record.events import EventLog, SubmissionFacts, TrainingFacts
from cloudmask.record.history import Epoch, write_history
from cloudmask.record.result import Energy, Inference, Result, System, Training
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes import dataset

SUBMISSION = {
    "organization": "A University",
    "organization_url": "https://university.example.org",
    "platform": "Two Cores",
    "name": "Clouds over Ada",
    "user": "Ada Lovelace",
    "email": "ada@example.org",
    "repository": "https://github.com/example/cloudmask",
    "branch": "main",
    "tag": "v0.1.0",
}
GIT = {"commit": "0123abc", "dirty": False, "repository": None, "branch": None, "tag": None}
COMMAND = "cloudmask-train --data patches.h5 --scenes data/inference --run runs/1"
EPOCHS = 2


def make_run(
    folder: Path, accuracy: float = 0.87, public: bool = False, **settings
) -> RunDirectory:
    """A finished run in `folder` of that accuracy over two synthetic scenes.

    public: over the hundred inference scenes of the public data set instead.
    """
    tree = {"training": {"epochs": EPOCHS}, "submission": SUBMISSION} | settings
    config = make_config(tree, "test")
    run = RunDirectory(folder)
    folder.mkdir(parents=True)
    run.config.write_text(config.to_yaml())
    facts = provenance.collect(shlex.split(COMMAND), {"path": "/d/patches.h5", "checksum": "12ab"})
    provenance.write(run.provenance, facts | {"git": GIT})
    system = System(**provenance.system(facts) | {"precision": "float32", "replicas": 1})
    history = [Epoch(number, 0.3, 0.86, 0.31, 0.85, seconds=9.0) for number in (1, 2)]
    write_history(run.history, history)
    run.summary.write_text("# csv,total,ok\n")
    run.telemetry.write_text("time,watts\n0,100\n")
    run.model.write_bytes(b"a network")
    _write_log(run, config, accuracy)
    result = Result(
        status="success",
        experiment=config.model_dump() | {"config_sha256": config.sha256()},
        training=Training(
            epochs_run=EPOCHS, best_epoch=1, accuracy=0.86, loss=0.3, val_accuracy=0.85,
            val_loss=0.31, seconds=18.0, seconds_per_epoch=9.0,
            data=DataDescription(scenes=6, origins={"synthetic": 6}),
        ),
        inference=_inference(accuracy, public),
        system=system,
        energy=Energy(joules=2500.0),
    )  # fmt: skip
    result.write(run.result)
    return run


def add_evaluation(run: RunDirectory, accuracy: float = 0.87) -> RunDirectory:
    """An evaluation of the run, with two masks, in its folder `evaluation`."""
    folder = RunDirectory(run.path / "evaluation")
    folder.masks.mkdir(parents=True)
    for number in (1, 2):
        (folder.masks / f"S3A_{number}.nc").write_bytes(b"a mask")
    folder.scenes_table.write_text("scene,accuracy\n")
    facts = provenance.collect(["cloudmask-eval", "--run", str(run)], {"model": str(run)})
    provenance.write(folder.provenance, facts | {"git": GIT})
    Result(status="success", inference=_inference(accuracy, False)).write(folder.result)
    return folder


def _inference(accuracy: float, public: bool) -> Inference:
    scenes = dataset.INFERENCE_SCENES if public else 2
    names = [f"S3A_{number}" for number in range(1, scenes + 1)]
    data = DataDescription(
        scenes=scenes,
        origins={dataset.NAME if public else "synthetic": scenes},
        months={dataset.INFERENCE_MONTH: scenes},
        seen_in_training=0,
    )
    return Inference(
        data=data,
        scenes=scenes,
        truth="bayes",
        accuracy=accuracy,
        iou=0.7,
        f1=0.8,
        accuracy_all_pixels=accuracy - 0.01,
        accuracy_per_scene=dict.fromkeys(names, accuracy),
        seconds_per_scene=1.25,
        seconds_per_scene_all=1.5,
    )


def _write_log(run: RunDirectory, config: Config, accuracy: float) -> None:
    who = config.submission
    with EventLog(run.log) as log:
        log.cache_clear(False)
        log.start("init")
        log.submission(
            SubmissionFacts(
                who.organization, who.division, "0.1.0", GIT["commit"], who.status, who.platform,
                who.name, who.email, who.user,
            )
        )  # fmt: skip
        optimizer = {"name": "adam", "base_learning_rate": 1e-3}
        log.settings(TrainingFacts(16, 8, 32, config.seed_number, optimizer, 1, 1, 0))
        log.stop("init")
        log.start("staging")
        log.stop("staging")
        log.start("run")
        for epoch in range(1, EPOCHS + 1):
            log.start("epoch", epoch_num=epoch)
            log.stop("epoch", epoch_num=epoch)
            log.start("eval", epoch_num=epoch)
            log.eval_accuracy(0.85, epoch)
            log.stop("eval", epoch_num=epoch)
        log.stop("run", status="success")
        log.result({"name": "cloudmask", "inference": {"accuracy": accuracy}})


def edit(path: Path, change) -> None:
    """Apply `change` to the JSON in `path`."""
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
