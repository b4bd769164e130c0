"""The engine: decides what a run does next, and does nothing itself."""
