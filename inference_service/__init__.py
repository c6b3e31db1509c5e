"""Pictures in, cells out, over HTTP and gRPC; the ledger of what was seen and done; access keys; the console."""
