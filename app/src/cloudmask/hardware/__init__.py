"""The machine: devices and precision, GPUs, base images for them, the preflight."""
