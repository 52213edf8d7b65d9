"""The machine as MLPerf describes systems."""

import json
import logging

import pytest

from cloudmask.config.settings import Submission
from cloudmask.record.result import Result, System
from cloudmask.record.system_description import KEYS, system_description

SUBMISSION = Submission(organization="Example University", platform="cluster")
PROVENANCE = {
    "os": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.0",
    "cpu": {
        "model": "AMD EPYC 7742 64-Core Processor",
        "cores": 128,
        "threads": 256,
        "usable_threads": 16,
        "sockets": 2,
        "max_hertz": 2.25e9,
    },
    "memory_bytes": 2 << 40,
    "gpus": [{"name": "NVIDIA A100-SXM4-80GB", "uuid": "GPU-1", "memory_bytes": 80 << 30}],
    "gpu_driver": "535.104.05",
    "versions": {"cloudmask": "1", "tensorflow": "2.17.0", "mlperf-logging": None},
    "cuda": {"version": "12.3", "cudnn": "8.9"},
    "container": {"name": "cloudmask.sif", "sha256": "ab" * 32, "base_digest": "sha256:cd"},
}
SYSTEM = System(gpu="NVIDIA A100-SXM4-80GB", gpus=8, nodes=2, tensorflow="2.17.0")


def result(system):
    return Result(schema=1, status="success", system=system)


def test_description_is_accepted_by_mlperf_loggings_checker(tmp_path, caplog):
    """The reference checker finds every key and can join those of its table."""
    from mlperf_logging.system_desc_checker.system_desc_checker import check_system_desc

    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(system_description(result(SYSTEM), PROVENANCE, SUBMISSION)))
    with caplog.at_level(logging.ERROR):
        valid, name, prefix, _ = check_system_desc(path, "hpc", "3.0.0")
    assert (valid, name, caplog.text) == (True, "cluster", "")
    assert prefix == (
        "Example University,cluster,AMD EPYC 7742 64-Core Processor,64,NVIDIA A100-SXM4-80GB,4,"
        "TensorFlow 2.17.0,"
    )


def test_description_counts_per_node_and_per_processor():
    found = system_description(result(SYSTEM), PROVENANCE, SUBMISSION)
    assert tuple(found) == KEYS
    expected = {
        "number_of_nodes": "2",
        "accelerators_per_node": "4",
        "accelerator_memory_capacity": "80 GiB",
        "host_processors_per_node": "2",
        "host_processor_core_count": "64",
        "host_processor_vcpu_count": "256",
        "host_processor_frequency": "up to 2.25 GHz",
        "host_memory_capacity": "2048 GiB",
        "hw_notes": "128 cores per node; the job could use 16 hardware threads",
        "sw_notes": f"container image cloudmask.sif, SHA-256 {'ab' * 32}, base sha256:cd",
        "status": "onprem",
    }
    assert {key: found[key] for key in expected} == expected
    assert found["other_software_stack"] == {
        "cloudmask": "1",
        "tensorflow": "2.17.0",
        "cuda": "12.3",
        "cudnn": "8.9",
        "gpu_driver": "535.104.05",
        "kernel": "6.1.0",
    }


@pytest.mark.parametrize("provenance", [{}, {"cpu": {"cores": 8}, "gpus": [], "container": None}])
def test_what_an_older_run_does_not_know_stays_empty(provenance):
    """Neither a number of processors nor a checksum is made up."""
    found = system_description(result(System(cpu="Xeon")), provenance, Submission())
    assert found["host_processors_per_node"] == found["host_processor_core_count"] == ""
    assert (found["accelerators_per_node"], found["accelerator_model_name"]) == ("0", "")
    assert (found["system_name"], found["sw_notes"]) == ("Xeon", "")
