"""Workers: processes that execute the runs that nobody has."""

from stepwell.worker.worker import Health, Worker

__all__ = ["Health", "Worker"]
