"""The books of many processes, laid side by side.

Each process writes down when it asked for memory, got it, began to give it back
and had done so (roles.Ledger). Nothing here comes from the daemon.
"""

import itertools


def most_at_once(grants):
    """The most bytes that were certainly granted at one moment: a grant counts
    from when its holder had it to when he began to give it back."""
    changes = [(got, nbytes) for _, got, _, _, nbytes in grants]
    changes += [(giving, -nbytes) for _, _, giving, _, nbytes in grants]
    changes.sort()  # Of the same moment, what was given back counts first.
    return max(itertools.accumulate(change for _, change in changes),
               default=0)
