"""Which module an import means: the names alone."""

import pytest

from stepwell.compat.names import source_of, target_of


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("workflows", "stepwell"),
        ("workflows.events", "stepwell.events"),
        ("workflows.runtime.types.results", "stepwell.runtime.types.results"),
        ("llama_agents.workflows", "workflows"),
        ("llama_agents.workflows.events", "workflows.events"),
        ("llama_agents.workflows.server", "workflows.server"),
        ("workflows.server", "llama_agents.server"),
        ("workflows.client.models", "llama_agents.client.models"),
        ("workflows.protocol", "llama_agents.client.protocol"),
    ],
)
def test_a_name_of_the_other_package_means_one_of_ours(name: str, target: str) -> None:
    assert target_of(name) == target


@pytest.mark.parametrize(
    "name",
    ["workflow", "workflows_extra", "workflowsserver", "my.workflows", "llama_agents", "stepwell"],
)
def test_any_other_name_means_itself(name: str) -> None:
    assert target_of(name) is None


def test_a_name_that_only_begins_like_a_moved_one_did_not_move() -> None:
    assert source_of("workflows.servers") == "workflows"
