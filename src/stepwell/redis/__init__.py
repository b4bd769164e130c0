"""Stepwell on Redis and Valkey; the only package that imports redis."""

from stepwell.redis.checkpointer import RedisCheckpointer
from stepwell.redis.wire import Stats

__all__ = ["RedisCheckpointer", "Stats"]
