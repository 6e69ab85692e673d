"""Lock files: `name==version ; marker \\`, followed by the hashes of its files."""

import re
from pathlib import Path
from typing import NamedTuple

LINE = re.compile(r"([\w.-]+)==(\S+)(?: ; ([^\\]+?))?(?: \\)?")


class Locked(NamedTuple):
    name: str
    version: str
    marker: str
    hashes: list[str]


def locked(path: Path) -> list[Locked]:
    found: list[Locked] = []
    for line in path.read_text().splitlines():
        if line.startswith("    --hash="):
            found[-1].hashes.append(line.strip().removesuffix(" \\").removeprefix("--hash="))
        else:
            match = LINE.fullmatch(line)
            assert match is not None, line
            found.append(Locked(match[1], match[2], match[3] or "", []))
    return found
