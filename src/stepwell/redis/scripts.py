"""The Lua scripts: one file for one transition, loaded with what it includes.

A script names its keys and arguments in its header, and gets them as locals of these names; the
first of further arguments (`...`) stands at ARGV[rest]. One with any number of keys has them in
KEYS, and one without arguments says `none`. `-- include: name` puts the functions of
`lua/include/name.lua` before it, each file once.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError

from stepwell.redis.wire import Line, Word

__all__ = ["Script", "script", "script_names"]

_FOLDER = files("stepwell.redis") / "lua"
_INCLUDE = re.compile(r"^-- include: (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it is sent.

    Attributes:
        sha: by which the server knows its text.
    """

    name: str
    text: str
    sha: str

    def command(self, keys: Sequence[str], arguments: Sequence[Word]) -> tuple[Word, ...]:
        """The command that runs it, where the server has it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    async def run(self, line: Line, keys: Sequence[str], arguments: Sequence[Word]) -> Any:
        """Run it; load it first where the server does not have it (any more)."""
        call = self.command(keys, arguments)
        try:
            return await line.call(*call)
        except NoScriptError:
            await self.load(line)
            return await line.call(*call)

    async def load(self, line: Line) -> None:
        """Tell the server its text."""
        await line.call("SCRIPT", "LOAD", self.text)


@cache
def script(name: str) -> Script:
    """The script of that name."""
    text = _compose(_read(f"{name}.lua"))
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice


def script_names() -> list[str]:
    """The names of all scripts."""
    return sorted(file.name[:-4] for file in _FOLDER.iterdir() if file.name.endswith(".lua"))


def _compose(source: str) -> str:
    shebang, _, body = source.partition("\n")
    included = dict.fromkeys(_included(source))
    parts = [shebang, *_bindings(source), *(_read(f"include/{name}.lua") for name in included)]
    return "\n".join([*parts, body])


def _included(source: str) -> Iterator[str]:
    """What a source includes, in the order in which it has to come."""
    for name in _INCLUDE.findall(source):
        yield from _included(_read(f"include/{name}.lua"))
        yield name


def _bindings(source: str) -> Iterator[str]:
    keys, arguments = _header(source, "keys"), _header(source, "args")
    if arguments[-1] == "...":
        yield f"local rest = {len(arguments)}"
        arguments.pop()
    for table, names in (("KEYS", keys), ("ARGV", arguments)):
        if names not in ([], ["..."], ["none"]):
            yield _binding(table, names)


def _binding(table: str, names: list[str]) -> str:
    values = ", ".join(f"{table}[{i}]" for i in range(1, len(names) + 1))
    return f"local {', '.join(names)} = {values}"


def _header(source: str, topic: str) -> list[str]:
    """The names in a line `-- topic: a b c?` (`?`: it may be missing)."""
    found = re.search(rf"^-- {topic}: (.+)$", source, re.MULTILINE)
    if found is None:
        raise ValueError(f"a script without a line '-- {topic}:'")
    return [name.rstrip("?") for name in found[1].split()]


@cache
def _read(path: str) -> str:
    return (_FOLDER / path).read_text()
