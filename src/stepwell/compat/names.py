"""Which module an import of LlamaIndex Workflows means here."""

__all__ = ["ALIASES", "MOVED", "NAMESPACE", "is_in", "source_of", "target_of"]

NAMESPACE = "llama_agents"
"""The package around the second name of `workflows`; other packages live in it too."""

MOVED = {
    "workflows.server": "llama_agents.server",
    "workflows.client": "llama_agents.client",
    "workflows.protocol": "llama_agents.client.protocol",
}
"""What left the package for packages of its own, and is deprecated under its old name."""

ALIASES = {**MOVED, f"{NAMESPACE}.workflows": "workflows", "workflows": "stepwell"}
"""Each of these names, and all names below it, stand for another. The first that fits counts."""


def is_in(name: str, package: str | None) -> bool:
    """Whether the name is that of the package, or of anything below it."""
    return f"{name}.".startswith(f"{package}.")


def source_of(name: str) -> str | None:
    """The key of `ALIASES` that a module's name falls under."""
    return next((source for source in ALIASES if is_in(name, source)), None)


def target_of(name: str) -> str | None:
    """The name of the module that an import of `name` means; None if it means itself."""
    source = source_of(name)
    return None if source is None else ALIASES[source] + name.removeprefix(source)
