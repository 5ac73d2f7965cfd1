#!/usr/bin/env python3
"""Draws a result of compare.py as an SVG picture, with nothing but Python.

    compare_chart.py RESULT.json PICTURE.svg

A panel for each workload that was measured: what an allocation and its free
take, by size; how many of them all threads together do in a second; random
sizes, by the largest; a step on several streams; logs that were replayed; several
processes, by their number; and what allocators hold for each byte alive. All axes
upwards are logarithmic.
"""

import html
import json
import math
import pathlib
import sys

from compare import human, medians

WIDTH, HEIGHT = 460, 300
LEFT, TOP, BOTTOM = 70, 40, 50
RANDOM_COUNT = "10k"
OUR_COLOURS = ["#1b6ca8", "#5aa9e6"]
COLOURS = ["#c1432e", "#e08e45", "#3d8b54", "#8fbf5a", "#7a5195", "#b98fc9"]


class Panel:
    """Lines over named places on one logarithmic scale."""

    def __init__(self, title, lines, text):
        self.title, self.lines, self.text = title, lines, text
        self.places = list(dict.fromkeys(place for line in lines.values()
                                         for place in line))
        self.x = self.y = 0  # Of its corner.
        values = [value for line in lines.values() for value in line.values()]
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def at(self, place, value):
        step = (WIDTH - 20) / max(len(self.places) - 1, 1)
        height = (math.log10(value) - self.low) / (self.high - self.low)
        return (self.x + LEFT + self.places.index(place) * step,
                self.y + TOP + HEIGHT * (1 - height))

    def draw(self):
        yield label(self.x + LEFT, self.y + TOP - 16, self.title,
                    weight="bold")
        for exponent in range(self.low, self.high + 1):
            x, y = self.at(self.places[0], 10.0 ** exponent)
            yield (f'<path d="M{x:.1f} {y:.1f}h{WIDTH - 20}" '
                   'stroke="#dddddd"/>')
            yield label(x - 8, y + 4, self.text(10.0 ** exponent), "end")
        for place in self.places:
            x, _ = self.at(place, 10.0 ** self.low)
            yield label(x, self.y + TOP + HEIGHT + 20, place, "middle")
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


def lines_of(times, workload, value=lambda _, time: time):
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


def held_over_live(records):
    """By allocator: bytes held for each that is alive, by case."""
    lines = {}
    for record in records:
        if record.get("peak_held") and record["peak_live"]:
            place = record["case"].removesuffix(".csv")
            if record["workload"] == "processes":
                place += " processes"
            lines.setdefault(record["allocator"], {})[place] = (
                record["peak_held"] / record["peak_live"])
    return lines


def panels_of(records):
    times = medians(records)
    random = {("random", case.removeprefix(RANDOM_COUNT + " up to ")): row
              for (workload, case), row in times.items()
              if workload == "random" and case.startswith(RANDOM_COUNT + " ")}
    for title, lines, text in (
            ("allocate + free, by size", lines_of(times, "pairs"), human),
            ("allocate + free of 4 KiB, by threads", lines_of(
                times, "threads", lambda case, time: int(case) * 1e9 / time),
             per_second),
            (f"random sizes, {RANDOM_COUNT} allocations, by the largest",
             lines_of(random, "random"), human),
            ("allocate, launch, free, by streams: CPU time",
             lines_of(times, "streams"), human),
            ("logs of programs: an operation", lines_of(times, "replay"), human),
            ("processes at once: an operation", lines_of(times, "processes"),
             human),
            ("bytes held for each byte alive", held_over_live(records),
             lambda value: f"{value:g}")):
        if lines:
            yield Panel(title, lines, text)


def picture(records):
    panels = list(panels_of(records))
    Panel.names = list(dict.fromkeys(name for panel in panels
                                     for name in panel.lines))
    for i, panel in enumerate(panels):
        panel.x = i % 2 * (WIDTH + LEFT + 30)
        panel.y = i // 2 * (TOP + HEIGHT + BOTTOM)
    total = 2 * (WIDTH + LEFT) + 60
    rows = (len(panels) + 1) // 2 * (TOP + HEIGHT + BOTTOM)
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
    pathlib.Path(sys.argv[2]).write_text(
        "\n".join(picture(result["records"])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
