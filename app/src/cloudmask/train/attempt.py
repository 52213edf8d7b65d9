"""What all phases of a training need."""

from dataclasses import dataclass

from cloudmask.config.settings import Config
from cloudmask.hardware.devices import Devices
from cloudmask.patches.batches import BatchLoader
from cloudmask.record.events import EventLog
from cloudmask.record.neighbors import OtherJobs
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.stopwatch import Stopwatch
from cloudmask.system.signals import StopRequest


@dataclass(frozen=True)
class Attempt:
    """One process's attempt at a run: an interrupted run takes several.

    others: who shared the node when the attempt began.
    Of several workers only the chief writes into `run`; the others' `log` drops its events.
    """

    config: Config
    run: RunDirectory
    devices: Devices
    precision: str
    log: EventLog
    watch: Stopwatch
    stop: StopRequest
    others: OtherJobs


@dataclass(frozen=True)
class TrainingBatches:
    """The batches that train and those that validate."""

    training: BatchLoader
    validation: BatchLoader
