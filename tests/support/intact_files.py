"""One small intact file of each kind that a command reads."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np

EXPERIMENT = """\
name: e
parameters:
  seed: [1, 2]
  model.filters: 2
repeats: 2
"""


def originals(folder: Path) -> dict[str, Path]:
    """One small intact file of each kind."""
    from cloudmask.config.settings import Config
    from cloudmask.patches.prepare import PrepareOptions, prepare
    from cloudmask.record.result import Result, Training
    from cloudmask.record.run_directory import RunDirectory
    from cloudmask.scenes import synthetic
    from cloudmask.train.checkpoint import Checkpoint, Checkpoints

    folder.mkdir(parents=True)
    scene = folder / "S3A_scene.hdf"
    synthetic.write_scene(scene, synthetic.make_scene("training", 0, (256, 256), seed=1))
    prepare([scene], folder / "store.h5", PrepareOptions(), workers=1)
    (folder / "config.yaml").write_text(Config().to_yaml())
    training = Training(epochs_run=1, best_epoch=1, loss=0.5)
    run = RunDirectory(folder)
    Result(status="success", training=training).write(run.result)
    arrays = [np.arange(60.0).reshape(3, 20), np.float32(1)]
    content = Checkpoint({"epoch": 1, "step": 0}, arrays, arrays)
    checkpoint = Checkpoints(run).save(content)
    product = _product(folder / "S3A_product.SEN3")
    shutil.make_archive(str(product), "zip", folder, product.name)
    return {
        "scene": scene,
        "product": product,
        "archive": folder / f"{product.name}.zip",
        "network": _network(folder / "model.keras"),
        "store": folder / "store.h5",
        "config": folder / "config.yaml",
        "result": folder / "result.json",
        "checkpoint": checkpoint,
        **_described(folder),
        **_recorded(run),
    }


def _recorded(run) -> dict[str, Path]:
    """What a run writes beside its result."""
    from cloudmask.record import provenance
    from cloudmask.record.events import EventLog
    from cloudmask.record.history import Epoch, write_history
    from cloudmask.record.stopwatch import Stopwatch
    from cloudmask.record.telemetry import Telemetry

    with EventLog(run.log) as log:
        log.start("init")
        log.stop("init")
        log.point("seed", 1234)
        log.point("eval_accuracy", 0.9, epoch_num=1)
        log.result({"training": {"accuracy": 0.9, "epochs_run": 1}})
    write_history(run.history, [Epoch(n, 0.5, 0.8, 0.5, 0.8, 2.0, 1.5, 3.0, 0.1) for n in (1, 2)])
    provenance.write(run.provenance, {"command": ["cloudmask-train"]})
    watch = Stopwatch("run")
    watch.add("total", 3.0)
    run.summary.write_text(watch.summary({"gpu": "V100"}))
    telemetry = Telemetry(run.telemetry, interval=60)
    telemetry.start()
    telemetry.stop()
    return {
        "log": run.log,
        "history": run.history,
        "provenance": run.provenance,
        "stopwatch": run.summary,
        "telemetry": run.telemetry,
    }


def _described(folder: Path) -> dict[str, Path]:
    """What describes other files: an overlay's manifest, an experiment and its plan, a listing."""
    from cloudmask.experiments import plan
    from cloudmask.experiments.experiment import load_experiment
    from cloudmask.overlay import manifest

    content = manifest.measure(folder / "store.h5", manifest.PATCHES, workers=1)
    source = manifest.Source(str(folder / "store.h5"), content.size, 0)
    described = manifest.Manifest(
        manifest.identity([content]),
        (content,),
        {content.path: source},
        manifest.ImageFacts(1 << 20, 0, content.sha256),
        manifest.Origin("0.1.0", "node", "2026-01-01"),
    )
    described.write(folder / "patches.ext3.json")
    (folder / "e.yaml").write_text(EXPERIMENT)
    frozen = plan.freeze(load_experiment(folder / "e.yaml"), folder / "runs")
    listing = [
        {"Key": f"ds1/{part}/S3A_{n}.hdf", "Size": 100 + n, "ETag": f'"{n:032x}"'}
        for part in ("training", "inference")
        for n in range(3)
    ]
    (folder / "listing.json").write_text(json.dumps(listing))
    return {
        "manifest": folder / "patches.ext3.json",
        "experiment": folder / "e.yaml",
        "plan": frozen.folder / plan.NAME,
        "listing": folder / "listing.json",
    }


def _network(path: Path) -> Path:
    """A saved network as Keras and this program write it: the weights, and what it tells."""
    from cloudmask.evaluate.saved_network import FACTS, WEIGHTS, NetworkFacts
    from cloudmask.model import weight_shapes

    content = io.BytesIO()
    shapes = iter(weight_shapes(2))
    with h5py.File(content, "w") as file:
        for number in range(len(weight_shapes(2)) // 2):
            name = f"conv2d_{number}" if number else "conv2d"
            for index in "01":
                file[f"layers/{name}/vars/{index}"] = np.ones(next(shapes), np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(WEIGHTS, content.getvalue())
        archive.writestr(FACTS, NetworkFacts(name="n").model_dump_json(by_alias=True))
    return path


def _product(folder: Path) -> Path:
    """A cut-down Level-1 product: S7 to S9 and flags, the sun's angle left out."""
    import h5netcdf

    folder.mkdir()
    (folder / "xfdumanifest.xml").write_text("<xml/>")
    rng = np.random.default_rng(0)
    shape = (300, 280)
    layers = {
        f"S{n}_BT_in.nc": {f"S{n}_BT_in": (rng.integers(-3000, 2000, shape), "i2")}
        for n in (7, 8, 9)
    }
    layers["flags_in.nc"] = {
        "bayes_in": (rng.integers(0, 3, shape), "u1"),
        "confidence_in": (rng.integers(0, 2, shape) * 16384, "u2"),
    }
    for name, variables in layers.items():
        with h5netcdf.File(folder / name, "w") as file:
            file.dimensions = {"rows": shape[0], "columns": shape[1]}
            for label, (values, kind) in variables.items():
                variable = file.create_variable(label, ("rows", "columns"), kind)
                variable[...] = values.astype(kind)
                if kind == "i2":
                    variable.attrs["scale_factor"] = np.float64(0.01)
                    variable.attrs["add_offset"] = np.float64(283.73)
    return folder
