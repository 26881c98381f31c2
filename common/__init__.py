"""The ground floor: errors, atomic files, the command line, devices, the log."""
