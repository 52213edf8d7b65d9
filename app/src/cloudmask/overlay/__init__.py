"""The overlay: patches (and scenes) in one ext3 image that Apptainer mounts beside its container.

`ext3` reads such an image without mounting it, `manifest` knows what is in it, `build` makes it,
`check` verifies it, `extract` takes files out of it, `node_cache` keeps them on a node's own disk,
and `processes` finds who has it open. Standard library only: the build runs with any Python of a
login node, and staging on a compute node before a container is there.
"""
