"""Experiments: one file of parameters, a frozen plan of rows, their execution and their state."""
