"""Programs written for LlamaIndex Workflows, run on Stepwell without a change.

    import stepwell

    stepwell.install_as_workflows()  # before anything imports `workflows`

    from llama_index.core.agent.workflow import FunctionAgent  # runs on Stepwell

or, for a script that stays as it is: `python -m stepwell.compat script.py`.
"""

from stepwell.compat.finder import install_as_workflows

__all__ = ["install_as_workflows"]
