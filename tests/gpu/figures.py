"""Collects what was measured into one JSON file, $OUT/figures.json."""

import json
import os
import pathlib

PATH = pathlib.Path(os.environ.get("OUT", "build")) / "figures.json"


def record(name, figures):
    known = json.loads(PATH.read_text()) if PATH.exists() else {}
    known[name] = figures
    PATH.parent.mkdir(parents=True, exist_ok=True)
    PATH.write_text(json.dumps(known, indent=2) + "\n")
