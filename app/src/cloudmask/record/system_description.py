"""The machine of a run as MLPerf describes systems: `systems/NAME.json` of a submission.

The keys are those that mlperf-logging's `system_desc_checker` demands, all of them; values are
strings, since its tables join them. What nobody knows is "", as in published descriptions: a
person who knows the machine fills it in.
"""

from collections.abc import Mapping
from typing import Any

from cloudmask.config.settings import Submission
from cloudmask.record.result import Result, System

# In the checker's order.
KEYS = (
    "submitter",
    "division",
    "status",
    "system_name",
    "number_of_nodes",
    "host_processors_per_node",
    "host_processor_model_name",
    "host_processor_core_count",
    "host_processor_vcpu_count",
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "host_memory_capacity",
    "host_storage_type",
    "host_storage_capacity",
    "host_networking",
    "host_networking_topology",
    "host_memory_configuration",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_host_interconnect",
    "accelerator_frequency",
    "accelerator_on-chip_memories",
    "accelerator_memory_configuration",
    "accelerator_memory_capacity",
    "accelerator_interconnect",
    "accelerator_interconnect_topology",
    "cooling",
    "hw_notes",
    "framework",
    "other_software_stack",
    "operating_system",
    "sw_notes",
)


def system_name(system: System, submission: Submission) -> str:
    """The system's name: the configured one, else its GPU's or CPU's."""
    return submission.platform or system.gpu or system.cpu or "unknown"


def system_description(
    result: Result, provenance: Mapping[str, Any], submission: Submission
) -> dict[str, Any]:
    """The description of the machine that `result` was found on, by KEYS.

    `provenance` is what the run has in its provenance.json, of an older version too. All values
    are strings but `other_software_stack`, which maps names to versions. Counts of processors and
    accelerators are per node, that of cores per processor.
    """
    system = result.system or System()
    known = {
        "submitter": submission.organization,
        "division": submission.division,
        "status": submission.status,
        "system_name": system_name(system, submission),
        "number_of_nodes": str(system.nodes),
        "framework": f"TensorFlow {system.tensorflow}" if system.tensorflow else "",
        "operating_system": _text(provenance.get("os")),
        "other_software_stack": _software(provenance),
        "sw_notes": _container(provenance),
    }
    return dict.fromkeys(KEYS, "") | known | _host(provenance) | _accelerators(system, provenance)


def _host(provenance: Mapping[str, Any]) -> dict[str, str]:
    cpu = _section(provenance, "cpu")
    processors, cores, hertz = (cpu.get(key) for key in ("sockets", "cores", "max_hertz"))
    usable = cpu.get("usable_threads")
    return {
        "host_processors_per_node": _text(processors),
        "host_processor_model_name": _text(cpu.get("model")),
        # Without the number of processors the cores of one are not known.
        "host_processor_core_count": str(cores // processors) if cores and processors else "",
        "host_processor_vcpu_count": _text(cpu.get("threads")),
        "host_processor_frequency": f"up to {hertz / 1e9:.2f} GHz" if hertz else "",
        "host_memory_capacity": _gibibytes(provenance.get("memory_bytes")),
        "hw_notes": f"{cores} cores per node; the job could use {usable} hardware threads"
        if cores and usable
        else "",
    }


def _accelerators(system: System, provenance: Mapping[str, Any]) -> dict[str, str]:
    cards = provenance.get("gpus") or [{}]
    return {
        "accelerators_per_node": str(system.gpus // max(system.nodes, 1)),
        "accelerator_model_name": _text(system.gpu),
        "accelerator_memory_capacity": _gibibytes(cards[0].get("memory_bytes"))
        if system.gpus
        else "",
    }


def _software(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Versions of what the run stands on, by name, as far as they are known."""
    stack = {
        **_section(provenance, "versions"),
        "cuda": _section(provenance, "cuda").get("version"),
        "cudnn": _section(provenance, "cuda").get("cudnn"),
        "gpu_driver": provenance.get("gpu_driver"),
        "kernel": provenance.get("kernel"),
    }
    return {name: str(version) for name, version in stack.items() if version}


def _container(provenance: Mapping[str, Any]) -> str:
    """The image in one sentence, "" where the run had none."""
    container = _section(provenance, "container")
    checksum = container.get("sha256")
    parts = [
        f"container image {container.get('name')}" if container else "",
        f"SHA-256 {checksum}" if checksum else "",
        f"base {container['base_digest']}" if container.get("base_digest") else "",
    ]
    return ", ".join(part for part in parts if part)


def _section(provenance: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return provenance.get(key) or {}


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _gibibytes(size: int | None) -> str:
    return f"{size / 2**30:.0f} GiB" if size else ""
