"""Runs `up` or `preview` of an ordinary Python Pulumi program without the Python language host.

The program runs inside this process, as the inline program of a Pulumi Automation API stack. Everything else is as
with the `pulumi` command: the project is the current folder, and the engine is the `pulumi` on PATH. Other commands
(`pulumi stack output`, `pulumi destroy`) need no language host and work on the same stack.

Usage: python_runner.py [--stack NAME] [--expect-no-changes] up|preview [PROGRAM]
PROGRAM is the program's main file, by default __main__.py.
"""

import argparse
import pathlib
import runpy
import sys

import yaml
from pulumi import automation


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs a Python Pulumi program without the Python language host.")
    parser.add_argument("--stack", default="demo", help="the stack's name; it is made when it does not exist")
    parser.add_argument("--expect-no-changes", action="store_true", help="fail when anything would change")
    parser.add_argument("command", choices=["up", "preview"])
    parser.add_argument("program", nargs="?", default="__main__.py", type=pathlib.Path)
    arguments = parser.parse_args()

    program = arguments.program.resolve()
    project = yaml.safe_load(pathlib.Path("Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    # The language host starts a program in its own folder, with that folder first on the module path.
    sys.path.insert(0, str(program.parent))

    def run_program() -> None:
        runpy.run_path(str(program), run_name="__main__")

    stack = automation.create_or_select_stack(
        stack_name=arguments.stack,
        project_name=project,
        program=run_program,
        opts=automation.LocalWorkspaceOptions(work_dir="."),
    )
    operation = stack.up if arguments.command == "up" else stack.preview
    try:
        operation(on_output=print, on_error=lambda text: print(text, file=sys.stderr),
                  expect_no_changes=arguments.expect_no_changes)
    except automation.CommandError:
        # The engine has already printed what is wrong, through on_output and on_error.
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
