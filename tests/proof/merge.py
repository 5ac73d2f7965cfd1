"""The books of many processes, laid side by side.

Each process writes down when it asked for memory, got it, began to give it back
and had done so (roles.Ledger). Nothing here comes from the daemon.
"""

import bisect
import itertools


def most_at_once(grants):
    """The most bytes that were certainly granted at one moment: a grant counts
    from when its holder had it to when he began to give it back."""
    changes = [(got, nbytes) for _, got, _, _, nbytes in grants]
    changes += [(giving, -nbytes) for _, _, giving, _, nbytes in grants]
    changes.sort()  # Of the same moment, what was given back counts first.
    return max(itertools.accumulate(change for _, change in changes),
               default=0)


class Possible:
    """How many bytes may have been granted: everything that anybody asked for
    counts from when he asked to when he had been refused, or had given back."""

    def __init__(self, grants, refusals):
        changes = [(asked, nbytes) for asked, _, _, _, nbytes in grants]
        changes += [(given, -nbytes) for _, _, _, given, nbytes in grants]
        changes += [(asked, nbytes) for asked, _, nbytes, _ in refusals]
        changes += [(answered, -nbytes) for _, answered, nbytes, _ in refusals]
        # Of the same moment, what was asked for counts first.
        changes.sort(key=lambda change: (change[0], -change[1]))
        self._times = [at for at, _ in changes]
        self._sums = list(itertools.accumulate(
            change for _, change in changes))

    def most_between(self, begin, end):
        first = max(bisect.bisect_left(self._times, begin) - 1, 0)
        last = bisect.bisect_right(self._times, end)
        return max(self._sums[first:last])


def unfounded(grants, refusals, limit, why):
    """Refusals by a limit, for a reason, that nothing explains: at no moment
    while they were decided could all that was granted or asked for be more."""
    possible = Possible(grants, refusals)
    return [refusal for refusal in refusals
            if refusal[3] == why and
            possible.most_between(refusal[0], refusal[1]) <= limit]
