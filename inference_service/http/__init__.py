"""The service over HTTP: routes, who may call them, and how a refusal is told."""
