"""A resource of this program: a file of environment variables, with which a CI job signs in to Databricks."""

import os
import urllib.request
from typing import Any

import pulumi
from pulumi import dynamic


def write(properties: dict[str, Any]) -> None:
    """Tries the token, so that the job is never given one that does not work, and then writes the file."""
    request = urllib.request.Request(
        properties["host"] + "/api/2.0/preview/scim/v2/Me",
        headers={"Authorization": "Bearer " + properties["token"]},
    )
    urllib.request.urlopen(request, timeout=30).close()
    # Nobody else may read the file, and the job never sees half of one.
    new = properties["file"] + ".new"
    with open(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(f"DATABRICKS_HOST={properties['host']}\nDATABRICKS_TOKEN={properties['token']}\n")
    os.replace(new, properties["file"])


class JobEnvironmentProvider(dynamic.ResourceProvider):
    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        write(props)
        return dynamic.CreateResult(id_=props["file"], outs=props)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        changed = [name for name in ("file", "host", "token") if _olds.get(name) != _news.get(name)]
        return dynamic.DiffResult(changes=bool(changed), replaces=["file"] if "file" in changed else [])

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.UpdateResult:
        write(_news)
        return dynamic.UpdateResult(outs=_news)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        if os.path.exists(_props["file"]):
            os.remove(_props["file"])


class JobEnvironment(dynamic.Resource):
    file: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        file: pulumi.Input[str],
        host: pulumi.Input[str],
        token: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ):
        super().__init__(JobEnvironmentProvider(), name, {"file": file, "host": host, "token": token}, opts)
