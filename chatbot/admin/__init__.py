"""The learning cycle: datasets, training, evaluation, the gate, promotion."""
