"""The power of the whole node while a run goes on, from a thread of its own.

The programs that know it take up to seconds, and the samples of the GPUs must not wait for them.
"""

import threading
import time
from dataclasses import dataclass

from cloudmask.record.energy import NODE, EnergySource, MeasuredEnergy, NoReading, open_source

INTERVAL = 10.0  # seconds from one reading to the next
STOP_SECONDS = 6.0  # for a last reading


@dataclass(frozen=True)
class NodeReading:
    """The node at one moment: power (W), energy since the first reading (J), how it was found."""

    watts: float | None
    joules: float | None
    source: str | None


class NodePower:
    """Asks the first source that knows the node's power; `notes` get why there is none."""

    def __init__(self, notes: list[str], interval: float = INTERVAL) -> None:
        self._notes = notes
        self._interval = interval
        self._stopping = threading.Event()
        self._latest: NodeReading | None = None
        self._thread = threading.Thread(target=self._run, name="node power", daemon=True)
        self._thread.start()

    def take(self) -> NodeReading | None:
        """The newest reading, None if it has been taken before."""
        latest, self._latest = self._latest, None
        return latest

    def stop(self) -> None:
        """Take a last reading, if one comes in time."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        source = open_source(NODE, self._notes)
        if source is None:
            return
        energy = MeasuredEnergy(source.name)
        self._read(source, energy)
        while not self._stopping.wait(self._interval):
            self._read(source, energy)
        self._read(source, energy)

    def _read(self, source: EnergySource, energy: MeasuredEnergy) -> None:
        try:
            power = source.read()
        except NoReading as error:
            note = f"readings of the node's power are missing: {error}"
            if note not in self._notes:
                self._notes.append(note)
            return
        energy.add(time.monotonic(), power.watts, power.joules)
        self._latest = NodeReading(power.watts, energy.joules, energy.source)
