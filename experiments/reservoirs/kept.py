"""Numbers of many points, kept in one JSON file as they come: a sweep that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spiketwin.experiments.protocol import write_json


class Kept:
    """What is done already. path: None keeps nothing.  settings: what all points depend on.

    Raises ValueError when the file is from other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))
        self.points: dict[str, Any] = {}
        if path and path.is_file():
            found = json.loads(path.read_text())
            if found["settings"] != self.settings:
                changed = sorted(k for k in {*found["settings"], *self.settings} if found["settings"].get(k) != self.settings.get(k))
                raise ValueError(f"{path} is from other settings ({', '.join(changed)}); give another folder, or remove it")
            self.points = found["points"]

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The point of that name: as it was kept, or made now and kept."""
        if name not in self.points:
            self.points[name] = json.loads(json.dumps(make()))
            if self.path:
                write_json(self.path, {"settings": self.settings, "points": self.points})
        return self.points[name]
