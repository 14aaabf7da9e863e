"""The Databricks SDK for Python. Each line of standard input is an environment, a configuration and a number of seconds;
a fork of this process signs in with them, and answers with a line of what went wrong, or null."""

import json
import logging
import os
import signal
import sys

from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config


def list_tokens(env, stated):
    os.environ.clear()
    os.environ.update(env)
    logging.disable()
    try:
        list(WorkspaceClient(config=Config(**stated)).tokens.list())
    except Exception as error:
        return str(error) or type(error).__name__
    return None


def main():
    for line in sys.stdin:
        env, stated, patience = json.loads(line)
        child = os.fork()
        if child == 0:
            # Ends the fork without an answer when its time is over; the parent then answers for it.
            signal.alarm(patience)
            print(json.dumps(list_tokens(env, stated)), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != 0:
            print(json.dumps(f"the SDK ended with status {status}"), flush=True)


if __name__ == "__main__":
    main()
