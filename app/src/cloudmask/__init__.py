"""The MLCommons Science cloud-masking benchmark, ready for HPC clusters.

A U-Net labels the cloud pixels of Sentinel-3 SLSTR scenes. Class 1 is cloud, class 0 clear sky.
"""

__version__ = "0.1.0"
