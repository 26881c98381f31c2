"""The raw formats, one file each; `formats.RAW`, where to begin, says how each becomes windows."""
