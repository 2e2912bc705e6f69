"""What a run needs of the machine: files, folders, locks, signals, processes, memory."""
