"""Runs that outlive their process: who owns one, how it is found again, how it goes on.

Works over any `storage.RunStore`; knows no Redis.
"""
