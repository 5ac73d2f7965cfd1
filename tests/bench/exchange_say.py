"""How the programs of exchange.py say what they measured: a line of JSON each."""

import json


def say(case, nanoseconds, **more):
    print(json.dumps({"case": case, "ns": nanoseconds, **more}), flush=True)
