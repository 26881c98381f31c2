"""How a run is done: settings, options, run folder, training phases, encoding, evaluation."""
