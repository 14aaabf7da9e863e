"""The inputs of a fuzz target: one file for people and reviews, a folder of files for libFuzzer.

    corpus.py unpack FILE FOLDER          writes each input of FILE into FOLDER, under a number
    corpus.py merge FILE CONTROL MOST     rewrites FILE: it keeps what found something once, and of the other
                                          inputs, old and new, at most MOST that reach edges which no input before
                                          them reached; CONTROL is libFuzzer's record of a merge

A line is an input: printable ASCII is itself, everything else and the backslash is \\xHH. `#` begins a comment.
"""

import pathlib
import re
import sys

FOUND = "# Found something once: always kept."
CHOSEN = "# Chosen by what they reach."


def decoded(line):
    return re.sub(rb"\\x([0-9a-f]{2})", lambda it: bytes.fromhex(it[1].decode()), line.encode("ascii"))


def encoded(data):
    line = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in data)
    # A comment is none, and no editor strips a blank from the end.
    line = re.sub("^#", r"\\x23", line)
    return re.sub(" $", r"\\x20", line)


def read(file):
    """The inputs under each heading."""
    inputs = {FOUND: [], CHOSEN: []}
    heading = CHOSEN
    for line in file.read_text(encoding="ascii").split("\n") if file.exists() else []:
        if line in inputs:
            heading = line
        elif line and not line.startswith("#"):
            inputs[heading].append(decoded(line))
    return inputs


def write(file, inputs):
    lines = []
    for heading, those in inputs.items():
        lines += [heading, *map(encoded, those)] if those else []
    file.write_text("\n".join(lines) + "\n", encoding="ascii")


def unpack(file, folder):
    for number, data in enumerate(sum(read(file).values(), [])):
        (folder / f"{number:03}").write_bytes(data)


def merge(file, control, most):
    lines = control.read_text(encoding="utf-8").split("\n")
    files, reached = lines[2:2 + int(lines[0])], {}
    for line in lines:
        if line.startswith("COV "):
            # The edges that no input before it reached.
            number, *edges = line.split()[1:]
            reached[files[int(number)]] = len(edges)
    inputs = read(file)
    # libFuzzer begins with the empty input by itself.
    ranked = [name for name in sorted(reached, key=reached.get, reverse=True) if pathlib.Path(name).stat().st_size]
    chosen = [name for name in ranked if reached[name]][:most]
    inputs[CHOSEN] = [data for data in (pathlib.Path(name).read_bytes() for name in chosen) if data not in inputs[FOUND]]
    write(file, inputs)
    print(f"    {len(chosen)} inputs, which reach {sum(map(reached.get, chosen))} of the {sum(reached.values())} edges found")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "unpack":
        unpack(*map(pathlib.Path, rest))
    elif command == "merge":
        merge(pathlib.Path(rest[0]), pathlib.Path(rest[1]), int(rest[2]))
    else:
        sys.exit(__doc__)
