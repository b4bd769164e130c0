"""Configuration as a resource: a pydantic model that is read from a JSON file."""

import json
import os
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeGuard, cast

from pydantic import BaseModel, ValidationError

from stepwell.errors import WorkflowValidationError
from stepwell.resource._rules import check_tree
from stepwell.resource.descriptors import ResourceDefinition, ResourceDescriptor

__all__ = ["ConfigDescriptor", "ConfigReader", "ResourceConfig", "validate_configs"]


@dataclass(frozen=True)
class ConfigReader:
    """The factory of a configuration: equal readers read the same.

    Attributes:
        file: the file as it was given; a relative one starts at the working directory.
        selector: the names that lead to the object in the file, with dots between them.
        model: what the object has to be; None as long as nobody said.
    """

    file: str
    selector: str | None
    model: type[BaseModel] | None = None

    @property
    def title(self) -> str:
        """The file, and where in it."""
        return self.file if self.selector is None else f"{self.file}.{self.selector}"

    @property
    def place(self) -> str:
        """The file, and where in it, as messages say it."""
        return f"Config file {self.file!r}{_at(self.selector)}"

    def __call__(self) -> BaseModel:
        """Read the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no JSON, has no object at the selector, or the object is not valid.
        """
        if self.model is None:
            raise ValueError(
                f"ResourceConfig {self.title!r} has no type to be validated into. Ask for it as "
                "Annotated[MyModel, ResourceConfig(...)]."
            )
        found = _select(self._content(), self)
        try:
            return self.model.model_validate(found)
        except ValidationError as error:
            raise ValueError(
                f"{self.place} is no {self.model.__name__}. Correct the file or the model: {error}"
            ) from error

    def _content(self) -> Any:
        path = Path(self.file).absolute()
        if not path.is_file():
            raise FileNotFoundError(
                f"{self.place}: there is no file {str(path)!r}. Create it, or start the program "
                "in the folder that the path begins at."
            )
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{self.place} is no valid JSON: {error}.") from error


def _select(content: Any, reader: ConfigReader) -> Any:
    """The object that the selector leads to; without one, all of it."""
    if reader.selector is None:
        return content
    passed: list[str] = []
    for name in reader.selector.split("."):
        if not (_is_object(content) and name in content):
            raise ValueError(_missing(reader, passed, name, content))
        content = content[name]
        passed.append(name)
    if not _is_object(content):
        raise ValueError(
            f"{reader.place} has {_kind(content)}, but a configuration is an object. Select the "
            "object that holds it."
        )
    return content


def _missing(reader: ConfigReader, passed: list[str], name: str, content: Any) -> str:
    here = _at(".".join(passed)) if passed else " at its top"
    has = f"the names {sorted(content)}" if _is_object(content) else _kind(content)
    return (
        f"Config file {reader.file!r}, selector {reader.selector!r}: there is no {name!r}{here}, "
        f"which has {has}. Correct the selector or the file."
    )


def _is_object(content: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(content, dict)


def _kind(content: Any) -> str:
    names = {"dict": "an object", "list": "a list", "str": "a string", "NoneType": "null"}
    return names.get(type(content).__name__, f"the value {content!r}")


def _at(selector: str | None) -> str:
    return "" if selector is None else f" at {selector!r}"


# --- what a user declares ---


class ConfigDescriptor(ResourceDescriptor):
    """A configuration, read when it is first asked for and kept as long as the workflow instance.

    Attributes:
        path_selector: where in the file it stands.
        label: a short name, for drawings.
        description: what it is for, for drawings.
    """

    def __init__(
        self, reader: ConfigReader, label: str | None = None, description: str | None = None
    ) -> None:
        super().__init__(reader, cache=True, scope="worker")
        self.path_selector = reader.selector
        self.label = label
        self.description = description

    @property
    def reader(self) -> ConfigReader:
        """The factory."""
        return cast("ConfigReader", self.factory)

    @property
    def name(self) -> str:
        """The file, and where in it."""
        return self.reader.title

    @property
    def config_file(self) -> str:
        """The absolute path of the file, whether it is there or not."""
        return str(Path(self.reader.file).absolute())

    def of_type(self, type_annotation: Any, place: str, /) -> Self:
        """Return the configuration as it fills a parameter of this type.

        Raises:
            WorkflowValidationError: the type is no pydantic model.
        """
        bound = copy(self)
        try:
            bound.set_type_annotation(type_annotation)
        except WorkflowValidationError as error:
            raise WorkflowValidationError(f"{place}: {error}") from None
        return bound

    def set_type_annotation(self, type_annotation: Any, /) -> None:
        """Say what model the configuration is validated into.

        Raises:
            WorkflowValidationError: the type is no pydantic model.
        """
        if not (isinstance(type_annotation, type) and issubclass(type_annotation, BaseModel)):
            raise WorkflowValidationError(
                f"ResourceConfig({self.name!r}) is validated into a pydantic model, and "
                f"{type_annotation!r} is none. Annotate with a class derived from BaseModel."
            )
        self.factory = replace(self.reader, model=type_annotation)


def ResourceConfig(  # noqa: N802 - reads as a type in annotations, and is called so in LlamaIndex Workflows
    config_file: str | os.PathLike[str],
    path_selector: str | None = None,
    label: str | None = None,
    description: str | None = None,
) -> ConfigDescriptor:
    """Declare a parameter that is filled from a JSON file: `Annotated` has it beside the model.

    The file is read when a step first asks for it; the workflow instance keeps what was read.

    Args:
        config_file: the path of the file, with the suffix ".json".
        path_selector: the names that lead to the object in the file, with dots between them; by
            default all of the file is meant.
        label: a short name, for drawings.
        description: what it is for, for drawings.

    Raises:
        ValueError: the file is no JSON file by its name, or the selector has an empty part.
        WorkflowValidationError: an argument is of the wrong type.
    """
    _check_types(config_file, path_selector, label, description)
    file = os.fspath(config_file)
    if Path(file).suffix != ".json":
        raise ValueError(f'ResourceConfig({file!r}): only JSON files are read. Name it "*.json".')
    if path_selector is not None and not all(path_selector.split(".")):
        raise ValueError(
            f"ResourceConfig({file!r}): the selector {path_selector!r} has an empty part. Write it "
            'as "outer.inner", or leave it out to take the whole file.'
        )
    return ConfigDescriptor(ConfigReader(file, path_selector), label, description)


def _check_types(config_file: Any, *texts: Any) -> None:
    if not isinstance(config_file, str | os.PathLike) or isinstance(
        os.fspath(cast("str | os.PathLike[Any]", config_file)), bytes
    ):
        raise WorkflowValidationError(
            f"ResourceConfig({config_file!r}): this is no path. Give a str or a pathlib.Path."
        )
    for name, text in zip(("path_selector", "label", "description"), texts, strict=True):
        if not isinstance(text, str | None):
            raise WorkflowValidationError(
                f"ResourceConfig({config_file!r}): {name} is {text!r}. Give a str, or leave it out."
            )


# --- before a run ---


def validate_configs(definitions: Iterable[ResourceDefinition]) -> None:
    """Read all config files that resources ask for, directly or in their factories' parameters.

    Nothing is kept of what is read.

    Args:
        definitions: the parameters of a step that are filled with resources.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not valid for its model, or factories ask for each other in a circle.
        WorkflowValidationError: a factory's annotations are wrong, or a resource would outlive
            another that it uses.
    """
    resources = [definition.resource for definition in definitions]
    for resource in resources:
        check_tree(resource)
    for read in dict.fromkeys(reader for resource in resources for reader in _readers(resource)):
        read()


def _readers(resource: ResourceDescriptor) -> Iterator[ConfigReader]:
    if isinstance(resource, ConfigDescriptor):
        yield resource.reader
    for definition in resource.dependencies:
        yield from _readers(definition.resource)
