"""The service: pictures in, cells out, over HTTP and gRPC; the ledger of what was seen and done; keys, and the console."""
