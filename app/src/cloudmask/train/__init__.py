"""Training: one loop for one CPU, one GPU, several GPUs and several nodes."""
