"""Package spotgrid of the proto files."""
