"""Conversations on disk: `store.Store` is the door, `values` is what comes out of it. No Qt, no engine."""
