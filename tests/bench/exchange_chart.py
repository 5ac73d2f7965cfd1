#!/usr/bin/env python3
"""Draws a result of exchange.py as an SVG picture, with nothing but Python.

    exchange_chart.py RESULT.json PICTURE.svg

A panel for each case that was measured, with a bar for each way, on one
logarithmic scale in a panel; and one for the memory that both processes had at
most.
"""

import json
import math
import pathlib
import sys

from compare_chart import label
from exchange import human, rows_of

WIDTH, LEFT, BAR, GAP, TOP = 330, 200, 16, 6, 40
COLUMNS = 2
OURS, OTHERS = "#1b6ca8", "#c1432e"


class Panel:
    """Bars, each with its way and its value."""

    def __init__(self, title, bars, text):
        self.title, self.bars, self.text = title, bars, text
        values = [value for _, value in bars]
        self.low = math.floor(math.log10(min(values)))
        self.high = math.ceil(math.log10(max(values)) + 0.3)

    @property
    def height(self):
        return TOP + len(self.bars) * (BAR + GAP) + 20

    def draw(self, x, y):
        yield label(x + LEFT, y + TOP - 14, self.title, weight="bold")
        for exponent in range(self.low, self.high + 1):
            at = x + LEFT + self.length(10.0 ** exponent)
            yield (f'<path d="M{at:.1f} {y + TOP - 6:.1f}v'
                   f'{self.height - TOP - 10}" stroke="#dddddd"/>')
        for number, (way, value) in enumerate(self.bars):
            top = y + TOP + number * (BAR + GAP)
            fill = OURS if way.startswith("vrampool") else OTHERS
            yield (f'<rect x="{x + LEFT}" y="{top:.1f}" height="{BAR}" '
                   f'width="{max(self.length(value), 1):.1f}" '
                   f'fill="{fill}"/>')
            yield label(x + LEFT - 8, top + BAR - 4, way, "end")
            yield label(x + LEFT + self.length(value) + 5, top + BAR - 4,
                        self.text(value))

    def length(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return share * (WIDTH - 70)


def panels_of(records):
    cases = {}
    for workload, case, way, time, _ in rows_of(records):
        cases.setdefault((workload, case), []).append((way, time))
    for (workload, case), bars in cases.items():
        yield Panel(f"{workload}: {case}", bars, human)
    memory = [(record["way"], record["both"] / 2**20) for record in records
              if record["workload"] == "memory" and "both" in record]
    if memory:
        yield Panel("table: memory of both at most", memory,
                    lambda mib: f"{mib:,.0f} MiB")


def picture(records):
    panels = list(panels_of(records))
    total = COLUMNS * (LEFT + WIDTH)
    drawn, y = [], 0
    for first in range(0, len(panels), COLUMNS):
        row = panels[first:first + COLUMNS]
        for number, panel in enumerate(row):
            drawn += panel.draw(number * (LEFT + WIDTH), y)
        y += max(panel.height for panel in row)
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" '
           f'viewBox="0 0 {total} {y + 10}" font-family="sans-serif" '
           'font-size="12">')
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield from drawn
    yield "</svg>"


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    pathlib.Path(sys.argv[2]).write_text(
        "\n".join(picture(result["records"])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
