"""The runner: carries out what the engine decides. Asyncio lives here, Redis does not."""
