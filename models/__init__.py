"""One file a paper: simmc.py, smsge.py, age.py."""
