"""The compliance checker of mlperf-logging, with only the benchmark's name one that it knows."""

import subprocess
import sys
from pathlib import Path


def comply(log: Path, folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and output of the unmodified HPC 3.0.0 checks on a copy of `log` in `folder`."""
    known = folder / "known.log"
    known.write_text(log.read_text().replace('"value": "cloudmask"', '"value": "deepcam"'))
    command = [sys.executable, "-m", "mlperf_logging.compliance_checker", "--usage", "hpc"]
    command += ["--ruleset", "3.0.0", "--log_output", str(folder / "checker.log")]
    done = subprocess.run([*command, *options, str(known)], capture_output=True, text=True)
    return done.returncode, done.stderr
