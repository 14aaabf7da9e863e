"""Writes the measured parts of docs/performance.md: tables and plots."""

import math
import re
import statistics

from processes import ROOT

PAGE = ROOT / "docs/performance.md"
PLOTS = ROOT / "docs/performance"
NAMES = {"ours": "this plugin", "against": "the other plugin", "floor": "floor: a provider that answers at once"}
COLOURS = {"ours": "#d9480f", "against": "#1971c2", "floor": "#868e96"}

# Each figure: its key, name, unit and number of digits, and a sentence about its meaning.
ROWS = [
    ("start", "Start to port", "ms", 1, "Before the engine can call it, each time that a command starts the plugin."),
    ("start_cpu", "Start, processor time", "ms", 1, "Without what the system waits for: loading and linking the program."),
    ("memory", "Memory at rest", "MiB", 1, "Resident, after the engine has greeted it."),
    ("peak/600", "Most memory, 600 tokens", "MiB", 1, "The highest while 600 tokens are created, refreshed and deleted."),
    ("schema_cpu", "GetSchema", "µs", 0, "The whole schema as it is compiled in; only `pulumi package` and YAML programs ask."),
    ("check_cpu", "Check", "µs", 0, "Most of it is gRPC: the floor decodes and encodes the same messages."),
    ("diff_cpu", "Diff", "µs", 0, "One changed property, compared with inputs and outputs of the state."),
    ("create_cpu", "Create", "µs", 0, "With its request to the workspace and the answer."),
    ("read_cpu", "Read", "µs", 0, "Each token once, as in a refresh: one list serves them all."),
    ("delete_cpu", "Delete", "µs", 0, "With what proves before it that the token is there, and is ours."),
]


def spread(values, digits):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f}–{high:,.{digits}f})"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def per_call(results, who):
    head = ["Figure", *(NAMES[name] for name in who), "Meaning"]
    rows = []
    for key, name, unit, digits, meaning in ROWS:
        found = [results["figures"][name].get(key) for name in who]
        if any(found):
            rows.append([f"{name}, {unit}", *(spread(values, digits) if values else "" for values in found), meaning])
    text = table(head, rows)
    # The last column is text.
    return text.replace("---: |\n", "--- |\n", 1)


def sizes(results, prefix, suffix):
    pattern = re.compile(rf"{prefix}{suffix}/(\d+)$")
    return sorted({int(found[1]) for figures in results["figures"].values() for key in figures if (found := pattern.match(key))})


def raw_rows(results, who):
    head = ["Tokens", "Provider", "create", "refresh", "delete", "processor time of all three", "requests", "most memory"]
    rows = []
    for size in sizes(results, "", "create_ms"):
        for name in who:
            figures = results["figures"][name]
            if f"create_ms/{size}" not in figures:
                continue
            get = lambda key: statistics.median(figures[f"{key}/{size}"])
            cpu = sum(get(f"{phase}_cpu") for phase in ("create", "refresh", "delete"))
            requests = " + ".join(f"{get(f'{phase}_requests'):.0f}" for phase in ("create", "refresh", "delete"))
            times = [f"{get(f'{phase}_ms'):,.0f} ms" for phase in ("create", "refresh", "delete")]
            rows.append([f"{size:,}", NAMES[name], *times, f"{cpu:,.0f} ms", requests, f"{get('peak'):.1f} MiB"])
    return table(head, rows).replace("| ---: |", "| --- |", 1)


def engine_rows(results, who):
    head = ["Tokens", "Command", *(NAMES[name] for name in who), "this plugin / floor", "the same in processor time", "requests"]
    rows = []
    for size in sizes(results, "engine_", "up_s"):
        for command in ("up", "refresh", "destroy"):
            key = f"engine_{command}_s/{size}"
            found = {name: results["figures"][name].get(key) for name in who}
            if not all(found.values()):
                continue
            ours = results["figures"]["ours"]
            floor = results["figures"]["floor"]

            def ratio(key):
                return f"{statistics.median(a / b for a, b in zip(ours[key], floor[key], strict=False)):.2f}"

            requests = f"{statistics.median(ours[f'engine_{command}_requests/{size}']):.0f}"
            cells = [f"{spread(values, 2)} s" for values in found.values()]
            rows.append([f"{size:,}", command, *cells, ratio(key), ratio(f"engine_{command}_cpu/{size}"), requests])
    return table(head, rows) if rows else ""


STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#343a40}.h{font-weight:600}line,path.a{stroke:#adb5bd;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#dee2e6}line,path.a{stroke:#495057}}</style>"
)


def svg(width, height, parts, title):
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{title}">\n<title>{title}</title>\n{STYLE}\n{body}\n</svg>\n'
    )


def text(x, y, content, anchor="start", kind=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{kind}>{content}</text>'


def legend(who, x, y):
    parts = []
    for name in who:
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" rx="2" fill="{COLOURS[name]}"/>')
        parts.append(text(x + 15, y, NAMES[name]))
        x += 30 + 7 * len(NAMES[name])
    return parts


def bars(results, who, keys, title):
    """Bars of several figures below each other, each group on its own scale."""
    shown = [row for row in ROWS if row[0] in keys and results["figures"]["ours"].get(row[0])]
    group = 22 + 18 * len(who)
    parts = [text(12, 20, title, kind=' class="h"'), *legend(who, 12, 42)]
    y = 60
    for key, name, unit, digits, _ in shown:
        values = {it: statistics.median(results["figures"][it][key]) for it in who if key in results["figures"][it]}
        most = max(values.values())
        parts.append(text(12, y + 12, f"{name}, {unit}"))
        for at, (it, value) in enumerate(values.items()):
            top = y + 18 + 18 * at
            width = max(1, 400 * value / most)
            parts.append(f'<rect x="12" y="{top}" width="{width:.0f}" height="13" rx="2" fill="{COLOURS[it]}"/>')
            parts.append(text(18 + width, top + 11, f"{value:,.{digits}f}"))
        y += group
    return svg(520, y + 8, parts, title)


def lines(series, title):
    """Lines over the number of tokens, both axes logarithmic. A series: provider, label, values by size, dashes."""
    left, top, wide, high = 64, 52 + 16 * -(-len(series) // 2), 420, 240
    values = [value for _, _, points, _ in series for value in points.values() if value > 0]
    counts = sorted({size for _, _, points, _ in series for size in points})
    low, up = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    up = max(up, low + 1)
    right = math.log10(max(counts)) or 1

    def place(size, value):
        y = top + high * (1 - (math.log10(max(value, 10**low)) - low) / (up - low))
        return left + wide * math.log10(size) / right, y

    parts = [text(12, 20, title, kind=' class="h"')]
    for power in range(low, up + 1):
        y = place(1, 10**power)[1]
        parts.append(f'<line x1="{left}" y1="{y:.0f}" x2="{left + wide}" y2="{y:.0f}"/>')
        parts.append(text(left - 6, y + 4, f"{10**power:,g}", "end"))
    for size in counts:
        x = place(size, 1)[0]
        parts.append(text(x, top + high + 18, f"{size:,}", "middle"))
    parts.append(text(left + wide / 2, top + high + 36, "tokens", "middle"))
    for at, (who, label, points, dash) in enumerate(series):
        path = " L".join("{:.1f},{:.1f}".format(*place(size, value)) for size, value in sorted(points.items()))
        style = f'fill="none" stroke="{COLOURS[who]}" stroke-width="2" stroke-dasharray="{dash}"'
        parts.append(f'<path d="M{path}" {style}/>')
        x, y = 12 + 250 * (at % 2), 38 + 16 * (at // 2)
        parts.append(f'<path d="M{x},{y - 4} h24" {style}/>')
        parts.append(text(x + 30, y, label))
    return svg(520, top + high + 46, parts, title)


DASHES = {"create": "none", "refresh": "6 3", "delete": "2 3"}


def over_sizes(results, who, what, title):
    series = []
    for name in who:
        for phase, dash in DASHES.items():
            figures = results["figures"][name]
            counts = sizes(results, "", f"{phase}_{what}")
            points = {
                size: statistics.median(figures[f"{phase}_{what}/{size}"])
                for size in counts
                if f"{phase}_{what}/{size}" in figures
            }
            series.append((name, f"{phase}, {NAMES[name].split(':')[0]}", points, dash))
    return lines(series, title)


def write(results):
    who = [name for name in NAMES if name in results["providers"]]
    ours = [name for name in who if name != "floor"]
    PLOTS.mkdir(parents=True, exist_ok=True)
    plots = {
        "start.svg": bars(results, who, ("start", "memory", "peak/600"), "Start and memory"),
        "calls.svg": bars(
            results, who, ("check_cpu", "diff_cpu", "create_cpu", "read_cpu", "delete_cpu"), "Processor time of a call"
        ),
    }
    if sizes(results, "", "create_ms"):
        plots["time.svg"] = over_sizes(results, who, "ms", "Time of all tokens in milliseconds, 16 calls at a time")
        plots["requests.svg"] = over_sizes(results, ours, "requests", "Requests to the workspaces")
    for name, plot in plots.items():
        (PLOTS / name).write_text(plot, encoding="utf-8")
    about = ", ".join(
        f"{NAMES[name]} {it['version']} ({it['bytes'] / 1e6:.1f} MB, {it['linked']})".replace("  ", " ") for name, it in results["providers"].items()
    )
    load = results["load"]
    parts = [
        f"Measured on {results['date']}: {results['machine']}; commit {results['commit']}, {results['rustc']}, "
        f"engine {results['engine'] or 'not measured'}; {about}. Median (lowest–highest). Load of "
        f"the machine meanwhile: {load[1]:.1f} ({load[0]:.1f}–{load[2]:.1f}), this measurement included.\n",
        "### One process, one call\n",
        per_call(results, who),
        f"A bare HTTP request of the same library and the same TLS code costs {spread(results['loop']['create'], 0)} µs of "
        f"processor time for a create and {spread(results['loop']['list'], 0)} µs for a small GET: what Create costs beyond "
        "that and beyond the floor is ours.\n",
        "![Start and memory](performance/start.svg)\n",
        "![Processor time of a call](performance/calls.svg)\n",
    ]
    if "time.svg" in plots:
        parts += [
            "### Many tokens, over raw gRPC\n",
            "Sixteen calls at a time, limiter off, one workspace for each 600 tokens. Requests are those of create + refresh + "
            "delete; the floor has none.\n",
            raw_rows(results, who),
            "![Time of all tokens](performance/time.svg)\n",
            "![Requests](performance/requests.svg)\n",
        ]
    engine = engine_rows(results, who)
    if engine:
        parts += [
            "### The real engine\n",
            "A program in YAML, state in a folder, limiter off. Processor time is that of the engine and of all that it "
            "starts. The engine is the one of the tests, which starts a tenth of a second faster than Pulumi's own "
            "([why](../tools/zxcvbn/nbutton23/zxcvbn.go)): with that one, the differences would be smaller in proportion.\n",
            engine,
        ]
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- measured -->\n", "<!-- end of what was measured -->"
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    PAGE.write_text(before + begin + "\n" + "\n".join(parts) + "\n" + end + after, encoding="utf-8")
    print(f"{PAGE}\n" + "\n".join(str(PLOTS / name) for name in plots))
