"""Formats of scenes: published HDF5 files and Level-1 product folders."""
