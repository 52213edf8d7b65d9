"""The operating system: files, locks, signals, processes, progress."""
