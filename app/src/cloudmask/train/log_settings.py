"""What the MLPerf log of a run holds before its first epoch: submission, sizes, settings."""

from collections.abc import Mapping
from typing import Any

from cloudmask import __version__
from cloudmask.config.settings import Config
from cloudmask.record.events import SubmissionFacts, TrainingFacts
from cloudmask.record.provenance import identity
from cloudmask.record.result import System
from cloudmask.train import learning_rate
from cloudmask.train.attempt import Attempt, TrainingBatches


def log_settings(
    attempt: Attempt, provenance: Mapping[str, Any], system: System, batches: TrainingBatches
) -> None:
    """Log who submits what, the sizes and hyper-parameters of the training, and what it ran in.

    The last are events `cloudmask_image_sha256` and so on: those of `identity` that are known.
    """
    attempt.log.submission(_submission(attempt.config, provenance, system))
    software = {f"cloudmask_{key}": value for key, value in identity(provenance).items()}
    attempt.log.settings(_training(attempt, batches, software))


def _submission(config: Config, provenance: Mapping[str, Any], system: System) -> SubmissionFacts:
    who = config.submission
    return SubmissionFacts(
        org=who.organization,
        division=who.division,
        version=__version__,
        github_commit_version=provenance["git"]["commit"],
        status=who.status,
        platform=who.platform or system.gpu or system.cpu or "unknown",
        poc_name=who.name,
        poc_email=who.email,
        user=who.user or provenance["user"],
    )


def _training(
    attempt: Attempt, batches: TrainingBatches, software: Mapping[str, Any]
) -> TrainingFacts:
    config, devices = attempt.config, attempt.devices
    return TrainingFacts(
        train_samples=batches.training.samples,
        eval_samples=batches.validation.samples,
        global_batch_size=config.training.batch_size,
        seed=config.seed_number,
        optimizer={
            "name": "adam",
            "adam_beta_2": config.training.beta_2,
            **learning_rate.log_facts(config.training, batches.training.steps),
        },
        number_of_ranks=devices.replicas,
        number_of_nodes=devices.workers,
        accelerators_per_node=devices.gpus // devices.workers,
        others={
            "loss_positive_weight": config.loss.positive_weight,
            "precision": attempt.precision,
            "config_sha256": config.sha256(),
            **software,
        },
    )
