"""The file system inside an overlay: where things lie in it, and how large an image has to be."""

from cloudmask.overlay.ext3 import DIRECT

UPPER = "/upper"  # Apptainer and Singularity show what lies below as the container's root
WORK = "/work"  # which they use for changes
BLOCK = 4096  # bytes
JOURNAL = 1024  # blocks, the smallest; without a journal the runtimes do not take it for ext3
INODE = 256  # bytes
RESERVED_INODES = 11
_PER_GROUP = 8 * BLOCK  # blocks that one bitmap block describes
_POINTERS = BLOCK // 4  # block pointers in an indirect block


def image_bytes(sizes: list[int], inodes: int) -> int:
    """Size of an image that holds files of these sizes, with half a percent and 2 MiB to spare."""
    blocks = sum(map(file_blocks, sizes)) + JOURNAL + 2 * inodes
    total = blocks
    for _ in range(4):  # It converges at once: what a group takes for itself is under a percent.
        groups = -(-total // _PER_GROUP)
        tables = -(-inodes * INODE // (groups * BLOCK)) + 1
        descriptors = -(-groups * 32 // BLOCK)
        total = blocks + groups * (2 + tables + 1 + descriptors)
    return (total + total // 200 + 512) * BLOCK


def file_blocks(size: int) -> int:
    """Blocks that a file of `size` bytes takes in ext3, with its indirect blocks."""
    data = -(-size // BLOCK)
    total, left, level = data, max(0, data - DIRECT), 1
    while left:
        covered = min(left, _POINTERS**level)
        total += sum(-(-covered // _POINTERS**k) for k in range(1, level + 1))
        left, level = left - covered, level + 1
    return total
