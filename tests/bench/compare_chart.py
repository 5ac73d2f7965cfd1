#!/usr/bin/env python3
"""Draws a result of compare.py as an SVG picture, with nothing but Python.

    compare_chart.py RESULT.json PICTURE.svg

Left: what an allocation and its free take, by size. Right: how many of them all
threads together do in a second. Both axes upwards are logarithmic.
"""

import html
import json
import math
import pathlib
import sys

from compare import human, medians

WIDTH, HEIGHT = 460, 300
LEFT, TOP, BOTTOM = 70, 40, 50
OUR_COLOURS = ["#1b6ca8", "#5aa9e6"]
COLOURS = ["#c1432e", "#e08e45", "#3d8b54", "#8fbf5a", "#7a5195", "#b98fc9"]


class Panel:
    """Lines over named places on one logarithmic scale."""

    def __init__(self, title, places, lines, text, x):
        self.title, self.places, self.lines = title, places, lines
        self.text, self.x = text, x
        values = [value for line in lines.values() for value in line.values()]
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def at(self, place, value):
        step = (WIDTH - 20) / max(len(self.places) - 1, 1)
        height = (math.log10(value) - self.low) / (self.high - self.low)
        return (self.x + LEFT + self.places.index(place) * step,
                TOP + HEIGHT * (1 - height))

    def draw(self):
        yield label(self.x + LEFT, TOP - 16, self.title, weight="bold")
        for exponent in range(self.low, self.high + 1):
            x, y = self.at(self.places[0], 10.0 ** exponent)
            yield (f'<path d="M{x:.1f} {y:.1f}h{WIDTH - 20}" '
                   'stroke="#dddddd"/>')
            yield label(x - 8, y + 4, self.text(10.0 ** exponent), "end")
        for place in self.places:
            x, _ = self.at(place, 10.0 ** self.low)
            yield label(x, TOP + HEIGHT + 20, place, "middle")
        for name, line in self.lines.items():
            points = [self.at(place, value) for place, value in line.items()]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            yield (f'<path d="M{path}" fill="none" stroke-width="2" '
                   f'stroke="{colour(name, self.names)}"/>')

    names = []  # Of all panels, in the order of their colours.


def label(x, y, text, anchor="start", weight="normal", fill="#222222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{fill}">{html.escape(text)}</text>')


def colour(name, names):
    if name == "empty":
        return "#999999"
    is_ours = name.startswith("vrampool")
    colours = OUR_COLOURS if is_ours else COLOURS
    alike = [each for each in names
             if each.startswith("vrampool") == is_ours and each != "empty"]
    return colours[alike.index(name) % len(colours)]


def lines_of(times, workload, value):
    """By allocator: values by case."""
    lines = {}
    for (its_workload, case), row in times.items():
        if its_workload == workload:
            for allocator, time in row.items():
                lines.setdefault(allocator, {})[case] = value(case, time)
    return lines


def per_second(value):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.0f} {unit}/s"
    return f"{value:.0f} /s"


def picture(times):
    pairs = lines_of(times, "pairs", lambda _, time: time)
    threads = lines_of(times, "threads",
                       lambda case, time: int(case) * 1e9 / time)
    Panel.names = list(dict.fromkeys([*pairs, *threads]))
    panels = [
        Panel("allocate + free, by size",
              list(dict.fromkeys(case for line in pairs.values()
                                 for case in line)), pairs, human, 0),
        Panel("allocate + free of 4 KiB, by threads",
              list(dict.fromkeys(case for line in threads.values()
                                 for case in line)), threads, per_second,
              WIDTH + LEFT + 30)]
    total = 2 * (WIDTH + LEFT) + 60
    rows = TOP + HEIGHT + BOTTOM
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" '
           f'viewBox="0 0 {total} {rows + 20}" font-family="sans-serif" '
           'font-size="12">')
    yield '<rect width="100%" height="100%" fill="white"/>'
    for panel in panels:
        yield from panel.draw()
    for i, name in enumerate(Panel.names):
        yield label(LEFT + i * (total - LEFT) / len(Panel.names), rows, name,
                    weight="bold", fill=colour(name, Panel.names))
    yield "</svg>"


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    result = json.loads(pathlib.Path(sys.argv[1]).read_text())
    times = medians(result["records"])
    pathlib.Path(sys.argv[2]).write_text("\n".join(picture(times)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
