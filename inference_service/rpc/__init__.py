"""The service over gRPC: `spotgrid.v1.StainDetection`, health and reflection."""
