"""The wire of gRPC: proto files, and Python generated from them by `.ci/proto.py`."""
