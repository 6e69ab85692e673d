import json
from collections.abc import Iterable
from pathlib import Path

import pytest


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes | Iterable[object], name: str = "readings.csv") -> Path:
        if not isinstance(content, str | bytes):
            content = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in content)
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write
