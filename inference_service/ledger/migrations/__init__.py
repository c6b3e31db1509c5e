"""How a ledger of any earlier version becomes one of this version; run when it is opened."""

from __future__ import annotations
