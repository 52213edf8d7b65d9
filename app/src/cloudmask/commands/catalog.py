"""All commands, in the order of the work; app/pyproject.toml has an entry point for each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: `cloudmask NAME` and `cloudmask-NAME` are the same.

    module: in this package, with `parser` and `main`. summary: what it does, in one line.
    """

    name: str
    module: str
    summary: str

    @property
    def program(self) -> str:
        """The program that is this command alone."""
        return f"cloudmask-{self.name}"


GROUPS: dict[str, tuple[Command, ...]] = {
    "scenes": (
        Command("data", "data", "Fetch the public data set cloud_slstr_ds1 from its S3 store."),
        Command("synth", "synth", "Make synthetic scenes that behave like those of SLSTR."),
    ),
    "patches and overlays": (
        Command("prepare", "prepare", "Cut scenes into normalized patches, in one patch store."),
        Command("overlay", "overlay", "Put patches, and scenes, into one ext3 image; check one."),
        Command("stage", "stage", "Bring data of an overlay onto a fast disk of this machine."),
    ),
    "training": (
        Command("preflight", "preflight", "Check that image, GPU, driver and a job's data fit."),
        Command("train", "train", "Train the U-Net on a patch store, with early stopping."),
        Command("grid", "grid", "Plan, run and follow an experiment over many runs."),
    ),
    "whole scenes": (
        Command("eval", "evaluate", "Label the clouds of scenes and compare with their masks."),
        Command("predict", "predict", "Write cloud masks of scenes, with or without labels."),
    ),
    "results": (
        Command("report", "report", "Write tables, figures and alarms of runs as a page."),
        Command("check-log", "check_log", "Check MLPerf logs against the rules of cloudmask."),
        Command("submission", "submission", "Write the directory that MLCommons Science takes."),
        Command("fair", "fair", "Describe runs as RO-Crates and the data set as Croissant."),
    ),
    "settings and shell": (
        Command("config", "config", "Show all settings, or what a YAML file sets, in full."),
        Command("completion", "completion", "Print what completes commands in bash, zsh or fish."),
    ),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}
