"""Making and measuring the network: train, calibrate, export, evaluate. The only room but `model.network` with torch."""
