"""The one thing that the tutorial does not show: where its Redis comes from."""

import pytest

from support.servers import RedisServer


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of a real server, such as redis://127.0.0.1:6379/0."""
    return redis_server.url
