"""Package spotgrid.v1: stain maps and the service StainDetection."""
