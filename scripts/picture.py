"""Draws docs/images/demo.svg: what a real run of the demo prints in a terminal, from the first `pulumi up` to
the replacement, without the previews.

Usage: scripts/picture.py [ARGUMENT...]

The arguments are those of scripts/demo.sh. Times, addresses and ids differ from run to run.
"""

import html
import os
import pathlib
import pty
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILE = ROOT / "docs/images/demo.svg"
BEGINS, ENDS = "5. pulumi up", "9. pulumi up once more"
COLUMNS = 116
COLORS = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"]
COLORS += ["#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff"]
CHARACTER, LINE, MARGIN = 7.8, 18, 16


def output_of(command):
    """What a command prints on a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=child, stderr=child)
    os.close(child)
    chunks = []
    while True:
        try:
            chunk = os.read(parent, 65536)
        except OSError:
            # This is how Linux reports that the other end is closed.
            chunk = b""
        if not chunk:
            break
        chunks.append(chunk)
    text = b"".join(chunks).decode().replace("\r\n", "\n")
    if process.wait() != 0:
        sys.exit(f"{text}\nthe run failed")
    return text


def runs_of(line, style):
    """Yields the pieces of a line, each with its own style. `style` carries the style from one line to the next."""
    for piece in re.split(r"(\x1b\[[0-9;]*[A-Za-z])", line):
        if not piece.startswith("\x1b"):
            if piece:
                yield piece, dict(style)
            continue
        codes = [int(code or 0) for code in piece[2:-1].split(";")] if piece.endswith("m") else []
        while codes:
            code = codes.pop(0)
            if code == 0:
                style.clear()
            elif code == 1:
                style["font-weight"] = "bold"
            elif code == 2:
                style["opacity"] = "0.65"
            elif code == 4:
                style["text-decoration"] = "underline"
            elif 30 <= code <= 37:
                style["fill"] = COLORS[code - 30]
            elif 90 <= code <= 97:
                style["fill"] = COLORS[code - 82]
            elif code == 39:
                style.pop("fill", None)
            elif code == 38 and codes[:1] == [5]:
                style["fill"] = COLORS[codes[1] % 16]
                codes = codes[2:]


def drawn(lines):
    width, height = COLUMNS * CHARACTER + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">'
    yield "<title>A token is created by pulumi up, works, and is replaced before it expires</title>"
    yield f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#0d1117"/>'
    yield '<g font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13" fill="#e6edf3">'
    style = {}
    for number, line in enumerate(lines):
        column, y = 0, MARGIN + 13 + number * LINE
        for text, look in runs_of(line, style):
            text = text[: COLUMNS - column]
            if text.strip():
                attributes = "".join(f' {name}="{value}"' for name, value in sorted(look.items()))
                x, length = MARGIN + column * CHARACTER, len(text) * CHARACTER
                yield (
                    f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" xml:space="preserve"{attributes}>'
                    f"{html.escape(text)}</text>"
                )
            column += len(text)
    yield "</g></svg>"


def main():
    os.environ["PULUMI_SKIP_UPDATE_CHECK"] = "true"
    lines = [line.rstrip() for line in output_of([ROOT / "scripts/demo.sh", *sys.argv[1:]]).split("\n")]
    (first,) = (number for number, line in enumerate(lines) if BEGINS in line)
    (last,) = (number for number, line in enumerate(lines) if ENDS in line)
    text = "\n".join(line.expandtabs() for line in lines[first:last])
    # The updates repeat what the previews say. A line that begins with @ shows only that time passes.
    text = re.sub(r"^[^\n]*Previewing update.*?(?=^[^\n]*Updating \()", "", text, flags=re.M | re.S)
    lines = [line for line in text.split("\n") if not re.match(r"(\x1b\[[0-9;]*m)*(@|\.*$)", line)]
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text("\n".join(drawn(lines)) + "\n", encoding="utf-8")
    print(f"{FILE.relative_to(ROOT)}: {len(lines)} lines")


main()
