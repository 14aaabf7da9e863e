"""Fails when one of these C# files does not parse, and says where."""

import pathlib
import sys

import tree_sitter_c_sharp
from tree_sitter import Language, Parser


def faults(node):
    if node.is_error or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from faults(child)


parser = Parser(Language(tree_sitter_c_sharp.language()))
found = [
    f"{path}:{fault.start_point.row + 1}: {'missing ' + fault.type if fault.is_missing else 'not C#'}"
    for path in sys.argv[1:]
    for fault in faults(parser.parse(pathlib.Path(path).read_bytes()).root_node)
]
sys.exit("\n".join(found) or 0)
