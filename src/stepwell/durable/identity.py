"""What tells a workflow and its input from others, and how runs of them are called."""

import json
import secrets
from hashlib import sha256

__all__ = ["digest_of_input", "new_run_id"]


def digest_of_input(workflow: str, text: str) -> str:
    """Return 16 hex digits that tell a workflow and its input from others.

    The order of the fields in the input does not matter.

    Args:
        workflow: its name.
        text: the input as JSON.
    """
    canonical = json.dumps(json.loads(text), sort_keys=True)
    return sha256(f"{workflow}\n{canonical}".encode()).hexdigest()[:16]


def new_run_id(digest: str) -> str:
    """Return a name that no run has, and by which a run is found that has this digest."""
    return f"{digest}~{secrets.token_hex(8)}"
