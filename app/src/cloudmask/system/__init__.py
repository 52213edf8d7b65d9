"""The operating system: files, disks, locks, signals, processes, progress."""
