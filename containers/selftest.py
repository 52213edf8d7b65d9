"""What an image checks about itself: that the base was left alone, and that the app runs in it.

selftest.py record FILE    before the app is installed: the base's own packages
selftest.py labels FILE    the same as labels of the image
selftest.py compare FILE   after it: the same versions, imported from the same places
selftest.py test FILE      compare, imports, a forward pass, and the GPU if there is one
"""

import importlib
import importlib.metadata
import json
import logging
import os
import sys
from pathlib import Path

# Compiled by the base's vendor, or tied to what is; pip would replace them with stock wheels.
KEPT = {
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "h5py": ("h5py",),
}
MODULES = (
    "cloudmask.commands.evaluate",
    "cloudmask.commands.train",
    "cloudmask.evaluate.evaluation",
    "cloudmask.patches.prepare",
    "cloudmask.record.events",
    "cloudmask.record.telemetry",
    "cloudmask.scenes.formats.safe",
    "matplotlib.figure",
    "mlperf_logging.mllog",
    "psutil",
    "pynvml",
    "tqdm",
)


def state() -> dict:
    """Version and folder of each package that must stay the base's, without importing it."""
    found = {}
    for module, names in KEPT.items():
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.origin:
            sys.exit(f"error: the base has no {module}; expected an image with TensorFlow")
        for name in names:
            try:
                version = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                version = None
        found[module] = {"version": version, "folder": str(Path(spec.origin).parent)}
    return found


def compare(path: Path) -> None:
    """Stop with exit code 2 if one of the base's packages was replaced."""
    before, after = json.loads(path.read_text()), state()
    for module in KEPT:
        if before[module] != after[module]:
            print(
                f"error: the base's {module} {before[module]['version']} in "
                f"{before[module]['folder']} was replaced by {after[module]['version']} in "
                f"{after[module]['folder']}; an image must keep what its base was built with",
                file=sys.stderr,
            )
            sys.exit(2)
        print(f"{module} {after[module]['version']} is the base's, in {after[module]['folder']}")


def labels(path: Path) -> None:
    """Print the recorded versions as the runtime takes labels: a name and a value on each line."""
    for module, found in json.loads(path.read_text()).items():
        print(f"cloudmask.base.{module} {found['version']} in {found['folder']}")


def forward() -> None:
    """Run the published network once on a made-up image."""
    import numpy as np

    from cloudmask.hardware.devices import open_devices
    from cloudmask.model import PUBLISHED_PARAMETERS, unet

    open_devices()
    network = unet()
    result = np.asarray(network(np.zeros((1, 256, 256, 9), np.float32)))
    assert network.count_params() == PUBLISHED_PARAMETERS, network.count_params()
    assert result.shape == (1, 256, 256, 1) and np.isfinite(result).all(), result.shape
    print(f"forward pass of the U-Net: ok, mean {result.mean():.3f}")


def test(path: Path) -> None:
    """All checks; the GPU's only where there is one."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    compare(path)
    # Without a home it reports at length where it keeps its list of fonts.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    for module in MODULES:
        importlib.import_module(module)
    print(f"imports: {len(MODULES)} modules ok")
    from cloudmask.hardware.preflight import preflight

    report = preflight("auto")
    print(report.text())
    if report.problems:
        sys.exit(2)
    forward()


if __name__ == "__main__":
    action, file = sys.argv[1], Path(sys.argv[2])
    if action == "record":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(state(), indent=2) + "\n")
    else:
        {"labels": labels, "compare": compare, "test": test}[action](file)
