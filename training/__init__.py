"""Making and measuring the network: train, calibrate, export, evaluate."""
