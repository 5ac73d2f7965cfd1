#!/usr/bin/env python3
"""Draws a result of exchange.py as an SVG picture, with nothing but Python.

    exchange_chart.py RESULT.json PICTURE.svg

A panel for each case that was measured, with a bar for each way on a logarithmic
scale; and one for the memory that both processes had at most, on a linear one.
"""

import json
import math
import pathlib
import sys

from compare_chart import label
from exchange import human, rows_of

WIDTH, LEFT, BAR, GAP, TOP = 330, 215, 16, 6, 40
COLUMNS = 2
OURS, OTHERS = "#1b6ca8", "#c1432e"


class Panel:
    """Bars, each with its way and its value."""

    def __init__(self, title, bars, text):
        self.title, self.bars, self.text = title, bars, text
        self.marks = self.marks_of([value for _, value in bars])

    @staticmethod
    def marks_of(values):
        """Powers of ten around them."""
        low = math.floor(math.log10(min(values)))
        high = math.ceil(math.log10(max(values)) + 0.3)
        return [10.0 ** exponent for exponent in range(low, high + 1)]

    @property
    def height(self):
        return TOP + len(self.bars) * (BAR + GAP) + 20

    def draw(self, x, y):
        yield label(x + LEFT, y + TOP - 14, self.title, weight="bold")
        for mark in self.marks:
            yield (f'<path d="M{x + LEFT + self.length(mark):.1f} '
                   f'{y + TOP - 6:.1f}v{self.height - TOP - 10}" '
                   'stroke="#dddddd"/>')
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
        low, high = math.log10(self.marks[0]), math.log10(self.marks[-1])
        return (math.log10(value) - low) / (high - low) * (WIDTH - 70)


class LinearPanel(Panel):
    @staticmethod
    def marks_of(values):
        return [max(values) * quarter / 4 for quarter in range(5)]

    def length(self, value):
        return value / self.marks[-1] * (WIDTH - 70)


def panels_of(records):
    cases = {}
    for workload, case, way, time, _ in rows_of(records):
        cases.setdefault((workload, case), []).append((way, time))
    for (workload, case), bars in cases.items():
        yield Panel(f"{workload}: {case}", bars, human)
    memory = [(record["way"], record["both"] / 2**20) for record in records
              if record["workload"] == "memory" and "both" in record]
    if memory:
        yield LinearPanel("table: memory of both at most", memory,
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
