"""The files that belong to the repository, for the checks of this folder."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tracked():
    """Paths relative to ROOT of all files that are, or could be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(pathlib.PurePosixPath(name)
                  for name in listed.split("\0")
                  if name and (ROOT / name).is_file())


def report(problems, checked):
    """Prints the outcome and ends the program. Having looked at nothing fails."""
    for problem in problems:
        print(problem)
    if checked == 0:
        print("nothing was checked: is this the repository?")
    print(f"{checked} checked, {len(problems)} problems")
    sys.exit(1 if problems or checked == 0 else 0)
