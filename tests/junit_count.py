#!/usr/bin/env python3
"""Counts the tests of ctest's JUnit files: prints "PASSED FAILED".

    junit_count.py [--names] FILE...

What did not run did not pass: a test that was skipped, disabled or not found
counts as failed. --names prints the failed ones, one in a line, instead.
"""

import sys
import xml.etree.ElementTree as ElementTree


def main():
    names = "--names" in sys.argv[1:]
    passed, failed = 0, []
    for path in (arg for arg in sys.argv[1:] if arg != "--names"):
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            if case.get("status") == "run":
                passed += 1
            else:
                failed.append(f"{case.get('name')} ({case.get('status')})")
    print("\n".join(failed) if names else f"{passed} {len(failed)}")


if __name__ == "__main__":
    main()
