"""Pictures with truth: the renderer (no torch), the frozen test set, and readers for pictures of others."""
