"""The limit on a process's address space (ulimit -v), under which libraries crash."""

import resource

from cloudmask.errors import Fault

GIB = 1 << 30


def require_address_space(needed: float) -> None:
    """Raise Fault if the process may map fewer than `needed` GiB.

    NumPy, HDF5 and TensorFlow die of a memory fault, without a word, where they get none while they
    are loaded or start their threads.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < needed * GIB:
        raise Fault(
            f"the address space is limited to {limit / GIB:.2f} GiB (ulimit -v); expected at least "
            f"{needed:g}, or no limit: limit the memory of the job instead"
        )
