"""Run directories with chosen figures, as a training leaves them, without training."""

import json

from cloudmask.record.run_directory import RunDirectory

HEAD = "epoch,loss,accuracy,val_loss,val_accuracy,seconds"
PROTOCOL = {
    "training": {"epochs": 200, "batch_size": 32, "learning_rate": 0.001},
    "early_stopping": {"enabled": True, "patience": 25, "monitor": "val_loss"},
    "model": {"filters": 32},
}
V100 = {"host": "node-1", "gpu": "Tesla V100-SXM2-32GB", "gpus": 1, "nodes": 1, "replicas": 1}


def write_run(folder, history, accuracy=0.889, **changes):
    """Write the run `folder`.

    history: rows of loss, accuracy, val_loss, val_accuracy and seconds, one per epoch; changes:
    `seed`, `system`, sections of the settings, `inference` and `training`, each merged over those
    of the paper's protocol on one V100.
    """
    directory = RunDirectory(folder)
    folder.mkdir(parents=True)
    losses = [row[2] for row in history]
    best = losses.index(min(losses))
    seconds = [row[4] for row in history]
    settings = {name: part | changes.get(name, {}) for name, part in PROTOCOL.items()}
    training = {
        "epochs_run": len(history),
        "best_epoch": best + 1,
        "stopped_early": len(history) < settings["training"]["epochs"],
        "loss": history[best][0],
        "accuracy": history[best][1],
        "val_loss": history[best][2],
        "val_accuracy": history[best][3],
        "seconds": sum(seconds),
        "first_epoch_seconds": seconds[0],
        "seconds_per_epoch": sum(seconds) / len(seconds),
        "staging_seconds": changes.get("staging_seconds"),
    }
    inference = {
        "accuracy": accuracy,
        "accuracy_all_pixels": accuracy,
        "scenes": 100,
        "seconds_per_scene": 1.5,
        "seconds_per_scene_all": 1.5,
    }
    result = {
        "schema": 1,
        "status": "success",
        "experiment": {"seed": changes.get("seed", 1234), **settings},
        "training": training,
        "inference": inference | changes.get("inference", {}),
        "system": V100 | changes.get("system", {}),
    }
    directory.result.write_text(json.dumps(result))
    directory.config.write_text("seed: 1234\n")
    rows = [f"{k},{','.join(map(str, row))}" for k, row in enumerate(history, 1)]
    directory.history.write_text("\n".join([HEAD, *rows]) + "\n")
    return folder


def as_published(run, seconds=130.0, first=700.0):
    """The history of one of the paper's runs, with times per epoch."""
    curves = (run.history[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy"))
    epochs = zip(*curves, strict=True)
    return [(*row, first if k == 0 else seconds) for k, row in enumerate(epochs)]
