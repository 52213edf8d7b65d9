"""What others have published as tables only, built in with its source (`published.yaml`)."""

from collections.abc import Collection
from pathlib import Path

import yaml

from cloudmask.report.runs import RecordedEvaluation, RecordedRun
from cloudmask.system.text import plural

TIME_NOTE = (
    "The paper's “avg. train time” is shown as published, in seconds per epoch. It grows with the "
    "number of epochs ({low:.2f} to {high:.2f} per epoch in all five rows), which a time per epoch "
    "would not; it may be the total in minutes, that is about {seconds:.0f} s per epoch. The "
    "authors' figure of seconds per epoch on the same cluster, 134 s at 100 epochs, supports the "
    "first reading."
)


def published(sources: Collection[str] = ()) -> list[RecordedRun]:
    """The runs of the paper's results table, and what is published on the logs of `sources`."""
    text = Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
    runs = []
    for entry in yaml.safe_load(text):
        if entry.get("beside", "") and entry["beside"] not in sources:
            continue
        if "runs" in entry:
            for number, row in enumerate(entry["runs"], 1):
                run = _run(entry, f"{entry['source']} run {number}")
                epochs, run.accuracy, accuracy, run.seconds_per_epoch, scene = row
                run.epochs_run, run.stopped_early = epochs, epochs < entry["epochs_set"]
                run.evaluations.append(
                    RecordedEvaluation(
                        "in the paper",
                        entry["test_data"],
                        accuracy=accuracy,
                        accuracy_all_pixels=accuracy,
                        seconds_per_scene=scene,
                        seconds_per_scene_all=scene,
                    )
                )
                runs.append(run)
        for epochs in entry.get("epochs", []):
            run = _run(entry, f"{entry['source']} {plural(epochs, 'epoch')}")
            run.epochs_set = run.epochs_run = epochs
            scenes = {f"scene {k}": value for k, value in enumerate(entry["per_scene"], 1)}
            mean = sum(scenes.values()) / len(scenes)
            run.evaluations.append(
                RecordedEvaluation(
                    "in the notebook", accuracy=mean, accuracy_all_pixels=mean, per_scene=scenes
                )
            )
            runs.append(run)
    return runs


def _run(entry: dict, name: str) -> RecordedRun:
    run = RecordedRun(name, "paper", entry["source"], entry["citation"])
    keys = ("machine", "device", "workers", "seed", "early_stopping", "epochs_set")
    for key in keys:
        setattr(run, key, entry.get(key))
    run.trained_on = entry.get("data")
    run.settings = dict(entry.get("settings", {}))
    return run


def time_note(runs: list[RecordedRun]) -> str | None:
    """The remark on the paper's training times, with its figures; None without those runs."""
    ratios = [
        run.seconds_per_epoch / run.epochs_run
        for run in runs
        if run.origin == "paper" and run.seconds_per_epoch and run.epochs_run
    ]
    if not ratios:
        return None
    mean = 60 * sum(ratios) / len(ratios)
    return TIME_NOTE.format(low=min(ratios), high=max(ratios), seconds=mean)
