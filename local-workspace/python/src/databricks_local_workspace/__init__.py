"""A local Databricks workspace, for tests of whatever uses Databricks credentials.

    with Workspace.start() as workspace:
        client = WorkspaceClient(host=workspace.host, token=workspace.token)

Tests with pytest use the fixture `databricks_workspace` instead.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sysconfig
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, cast

__all__ = ["Auth", "ControlError", "Request", "ServicePrincipal", "Token", "User", "Workspace", "program"]

_NAME = "databricks-local-workspace"
_LINES = {"DATABRICKS_HOST", "DATABRICKS_TOKEN"}
_TLS_LINES = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}
_CLIENT_LINES = {"DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"}
# Clients sign in by these variables, and refuse to choose where they find more than one way. The first of them is none:
# it names the program.
_PROGRAM_VARIABLE = "DATABRICKS_LOCAL_WORKSPACE"
_SIGN_IN_PREFIXES = ("DATABRICKS_", "ARM_", "ACTIONS_ID_TOKEN_REQUEST_")
_SIGN_IN_VARIABLES = {"GOOGLE_CREDENTIALS"}


class ControlError(RuntimeError):
    """The workspace refused a call of its control API."""


@dataclasses.dataclass(frozen=True)
class ServicePrincipal:
    """A service principal with a secret that never expires."""

    id: int
    client_id: str
    client_secret: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class User:
    """A user with a personal access token that never expires."""

    id: int
    user_name: str
    token: str = dataclasses.field(repr=False)


class Token(TypedDict):
    """A token as `Workspace.tokens()` returns it. Times are in milliseconds since the epoch."""

    id: str
    comment: str | None
    owner: str | None
    created_by: str | None
    workspace_id: str
    creation_time: int
    #: -1 means never.
    expiry_time: int
    revoked: bool
    #: Neither revoked nor expired.
    live: bool
    scopes: list[str]


class Auth(TypedDict, total=False):
    """The credential of a request: its kind, and the first 12 digits of its SHA-256."""

    kind: Literal["bearer", "basic", "other", "none"]
    fingerprint: str


class _Request(TypedDict):
    seq: int
    time_ms: int
    connection: int
    remote_port: int
    http_version: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    auth: Auth
    #: Status of the answer; None if there was none.
    status: int | None
    #: Whether the workspace did what was asked, whatever it answered.
    work_done: bool
    #: The action of the fault that hit this request.
    fault: dict[str, Any] | None


class Request(_Request, total=False):
    """A request as `Workspace.requests()` returns it. Secrets in it read REDACTED."""

    #: JSON or the fields of a form; absent if there was none.
    body: Any


class _MonkeyPatch(Protocol):
    def setenv(self, name: str, value: str) -> None: ...

    def delenv(self, name: str) -> None: ...


def program() -> pathlib.Path:
    """The path of the program: named by DATABRICKS_LOCAL_WORKSPACE, or installed with this package, or on PATH."""
    if named := os.environ.get(_PROGRAM_VARIABLE):
        return pathlib.Path(named)
    schemes = {sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")}
    folders = [sysconfig.get_path("scripts", scheme) for scheme in schemes]
    for folder in [*folders, None]:
        if found := shutil.which(_NAME, path=folder):
            return pathlib.Path(found)
    raise FileNotFoundError(f"{_NAME} is neither in {' or '.join(folders)} nor on PATH; reinstall the package {_NAME}")


class Workspace:
    """A running workspace. It ends with `stop`, at the end of a `with`, and at the latest with this process."""

    def __init__(self, process: subprocess.Popen[str], variables: dict[str, str]):
        self._process = process
        self._variables = variables
        #: URL of the workspace.
        self.host: str = variables["DATABRICKS_HOST"]
        #: Personal access token of the admin. It never expires, and is not among `tokens()`.
        self.token: str = variables["DATABRICKS_TOKEN"]
        #: Certificate to trust if the workspace was started with --tls.
        self.certificate: str | None = variables.get("SSL_CERT_FILE")
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self.certificate:
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.certificate)))
        self._opener = urllib.request.build_opener(*handlers)

    @classmethod
    def start(cls, *options: str) -> Workspace:
        """Starts a workspace, on a free port unless an option of the program says otherwise."""
        if "--export" in options:
            raise ValueError("--export is for shells; `environment()` has the variables")
        process = subprocess.Popen(
            [program(), "--exit-on-stdin-eof", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        wanted = set(_LINES)
        if any(option.startswith("--tls") for option in options):
            wanted |= _TLS_LINES
        if any(option.startswith(("--service-principal", "--client-")) for option in options):
            wanted |= _CLIENT_LINES
        variables: dict[str, str] = {}
        while not wanted <= variables.keys():
            line = process.stdout.readline()  # type: ignore[union-attr]
            name, equals, value = line.rstrip("\n").partition("=")
            if not equals:
                process.kill()
                process.wait()
                raise RuntimeError(f"{program()} did not start; what it wrote to stderr says why")
            variables[name] = value
        return cls(process, variables)

    def stop(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(timeout=10)
        finally:
            self._process.kill()
            self._process.stdout.close()  # type: ignore[union-attr]

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"Workspace({self.host!r})"

    def control(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """A call of the control API, such as `control("quota", {"quota": 3})`; without a body it is a GET."""
        request = urllib.request.Request(
            f"{self.host}/local/control/{path.lstrip('/')}",
            data=None if body is None else json.dumps(body).encode(),
            method=method or ("GET" if body is None else "POST"),
        )
        try:
            with self._opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                message = json.load(error).get("message", error.reason)
            raise ControlError(f"{request.get_method()} {path}: {error.code} {message}") from None

    def environment(self, principal: ServicePrincipal | User | None = None) -> dict[str, str]:
        """The variables with which clients sign in here: as the admin, or as somebody else."""
        variables = {"DATABRICKS_HOST": self.host}
        if isinstance(principal, ServicePrincipal):
            variables["DATABRICKS_CLIENT_ID"] = principal.client_id
            variables["DATABRICKS_CLIENT_SECRET"] = principal.client_secret
        else:
            variables["DATABRICKS_TOKEN"] = principal.token if principal else self.token
        return variables | {name: value for name, value in self._variables.items() if name in _TLS_LINES}

    def sign_in(self, monkeypatch: _MonkeyPatch, principal: ServicePrincipal | User | None = None) -> None:
        """Makes clients that read the environment sign in here, for the rest of the test: as the admin, or as somebody
        else. Other variables for signing in are hidden from them."""
        for name in list(os.environ):
            if name.startswith(_SIGN_IN_PREFIXES) or name in _SIGN_IN_VARIABLES:
                if name != _PROGRAM_VARIABLE:
                    monkeypatch.delenv(name)
        for name, value in self.environment(principal).items():
            monkeypatch.setenv(name, value)

    def service_principal(
        self, name: str | None = None, *, admin: bool = False, account_admin: bool = False
    ) -> ServicePrincipal:
        """Adds a service principal with a new application id."""
        body = {
            "application_id": str(uuid.uuid4()),
            "display_name": name or "Service principal",
            "admin": admin,
            "account_admin": account_admin,
        }
        made = self.control("service-principals", body)
        return ServicePrincipal(made["id"], made["application_id"], made["client_secret"])

    def user(self, user_name: str, *, admin: bool = False, account_admin: bool = False) -> User:
        """Adds a user."""
        body = {"user_name": user_name, "admin": admin, "account_admin": account_admin}
        made = self.control("users", body)
        return User(made["id"], made["user_name"], made["token"])

    def federation_policy(
        self,
        issuer: str,
        *,
        jwks: Mapping[str, Any] | None = None,
        audiences: Sequence[str] = (),
        subject: str | None = None,
        subject_claim: str | None = None,
        principal: ServicePrincipal | None = None,
    ) -> str:
        """Makes the token endpoint exchange what `issuer` signs with a key of `jwks`; returns the policy's id.

        With a service principal, the policy belongs to it and needs a subject; without one, it belongs to the account.
        Without audiences, a token's audience must be the account id; without keys, those of this workspace are used.
        """
        policy: dict[str, Any] = {"issuer": issuer, "audiences": list(audiences)}
        given = {"subject": subject, "subject_claim": subject_claim, "jwks_json": json.dumps(jwks) if jwks else None}
        policy |= {name: value for name, value in given.items() if value is not None}
        body: dict[str, Any] = {"oidc_policy": policy}
        if principal:
            body["principal"] = principal.client_id
        return str(self.control("federation-policies", body)["policy_id"])

    def now(self) -> datetime.datetime:
        """The workspace's time."""
        return datetime.datetime.fromtimestamp(self.control("state")["now_ms"] / 1000, datetime.timezone.utc)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Moves the workspace's clock forward."""
        step = datetime.timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self.control("clock", {"advance_ms": round(step.total_seconds() * 1000)})

    def fault(
        self,
        path: str | None = None,
        *,
        method: str | None = None,
        nth: int = 1,
        times: int = 1,
        probability: float | None = None,
        seed: int | None = None,
        status: int | None = None,
        error_code: str | int | None = None,
        message: str | None = None,
        retry_after: str | int | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str | None = None,
        html: bool = False,
        work: bool = False,
        drop: Literal["before", "after"] | None = None,
        truncate_after_bytes: int | None = None,
        hang: bool = False,
        delay_ms: int | None = None,
        detached: bool = False,
    ) -> None:
        """Makes requests whose path contains `path` fail: `fault("/token/create", status=429, retry_after=1)`.

        Which ones: `times` is how many of them, 0 for all from now on; `nth` the first of them; `probability` the chance
        of each, which `seed` makes repeatable.

        How: an answer with `status`, `error_code`, `message`, `retry_after`, `headers`, `body` and `content_type`, as a
        page if `html`; in place of the work, or after it if `work`. Or no whole answer: `drop` resets the connection
        before or after the work, `truncate_after_bytes` ends it within the body, `hang` never answers. `delay_ms` waits;
        `detached` does the work even if the client leaves.
        """
        match = {"path": path, "method": method, "nth": nth, "times": times, "probability": probability, "seed": seed}
        action = {
            "status": status,
            "error_code": error_code,
            "message": message,
            "retry_after": None if retry_after is None else str(retry_after),
            "headers": None if headers is None else dict(headers),
            "body": body,
            "content_type": content_type,
            "html": html or None,
            "work": work or None,
            "drop": drop,
            "truncate_after_bytes": truncate_after_bytes,
            "hang": hang or None,
            "delay_ms": delay_ms,
            "detached": detached or None,
        }
        given = [{name: it for name, it in group.items() if it is not None} for group in (match, action)]
        self.control("faults", {"match": given[0], "action": given[1]})

    def clear_faults(self) -> None:
        self.control("faults", method="DELETE")

    def tokens(self, *, live: bool | None = None) -> list[Token]:
        """Every token ever made here, oldest first, without values; `live` selects those that work, or not."""
        tokens: list[Token] = self.control("state")["tokens"]
        return [token for token in tokens if live is None or token["live"] == live]

    def requests(self, path: str = "", *, method: str | None = None) -> list[Request]:
        """The requests whose path contains `path`, in order of arrival, without secrets."""
        entries: list[Request] = self.control("requests")["requests"]
        return [entry for entry in entries if path in entry["path"] and method in (None, entry["method"])]

    def revoke(self, token_id: str) -> None:
        """Revokes any token, as an admin might elsewhere."""
        self.control(f"tokens/{token_id}/revoke", {})

    def reset(self) -> None:
        """Puts everything back as at the start, with the same credentials."""
        self.control("reset", {})

    def snapshot(self) -> dict[str, Any]:
        """The whole state except faults and requests; credentials are in it as hashes only."""
        return cast("dict[str, Any]", self.control("snapshot"))

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Restores a snapshot, also one of another workspace."""
        self.control("snapshot", snapshot, method="PUT")
