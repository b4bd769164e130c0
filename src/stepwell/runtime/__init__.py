"""Names of the runtime that code written for LlamaIndex Workflows imports."""
