"""Runs inline programs of the Automation API with the SDK that PYTHONPATH names, one request after another.

Importing the official SDK takes seconds, so one process serves a whole test run. A request is a line of JSON on stdin,
its answer a line on stdout. A program is a Python file; it finds what the test gives it in `builtins.arguments`.
"""

import builtins
import json
import os
import runpy
import sys
import traceback

import pulumi_databricks  # The import is what takes long, so it happens before the first request.
from pulumi import automation


# A new PulumiCommand asks the engine for its version, so there is one for all requests.
COMMAND = automation.PulumiCommand()


def run(request):
    def program():
        builtins.arguments = request["arguments"]
        runpy.run_path(request["program"], run_name="__main__")

    stack = automation.create_or_select_stack(
        stack_name=request["stack"],
        project_name=request["project"],
        program=program,
        opts=automation.LocalWorkspaceOptions(
            work_dir=request["work_dir"],
            env_vars=request["env"],
            secrets_provider=request["secrets_provider"],
            pulumi_command=COMMAND,
        ),
    )
    output, steps, diagnostics = [], {}, []

    def on_event(event):
        for kind in ("resource_pre_event", "res_outputs_event", "res_op_failed_event"):
            data = getattr(event, kind)
            if data is None:
                continue
            step = steps.setdefault(data.metadata.urn, {"ops": [], "result": None, "diff": {}, "failed": False})
            if kind == "resource_pre_event":
                step["ops"].append(str(data.metadata.op.value))
            if kind == "res_outputs_event":
                step["result"] = str(data.metadata.op.value)
            for path, change in (data.metadata.detailed_diff or {}).items():
                step["diff"][path] = str(change.diff_kind.value)
            step["failed"] = step["failed"] or kind == "res_op_failed_event"
        if event.diagnostic_event is not None:
            entry = event.diagnostic_event
            diagnostics.append({"severity": entry.severity, "urn": entry.urn or "", "message": entry.message})

    options = dict(on_output=output.append, on_error=output.append, on_event=on_event, **request["options"])
    answer = {"ok": True, "error": ""}
    try:
        result = getattr(stack, request["operation"])(**options)
        if request["operation"] == "up":
            answer["outputs"] = {
                name: {"value": value.value, "secret": value.secret} for name, value in result.outputs.items()
            }
    except automation.CommandError as error:
        answer.update(ok=False, error=str(error))
    return answer | {"text": "\n".join(output), "steps": steps, "diagnostics": diagnostics}


def main():
    # Programs may print; only answers go to the test.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    answers.write(json.dumps({"sdk": pulumi_databricks.__file__}) + "\n")
    answers.flush()
    for line in sys.stdin:
        try:
            answer = run(json.loads(line))
        except Exception:
            answer = {"ok": False, "error": traceback.format_exc(), "text": "", "steps": {}, "diagnostics": []}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
