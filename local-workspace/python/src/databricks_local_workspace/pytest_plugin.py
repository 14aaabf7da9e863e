"""Fixtures with a local Databricks workspace.

Each process of pytest has workspaces of its own, so tests may run in parallel.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import Workspace


@pytest.fixture(scope="session")
def databricks_workspace_options() -> list[str]:
    """Options of the program; override it in conftest.py for others."""
    return []


@pytest.fixture(scope="session")
def _databricks_workspace_process(databricks_workspace_options: list[str]) -> Iterator[Workspace]:
    with Workspace.start(*databricks_workspace_options) as workspace:
        yield workspace


@pytest.fixture
def databricks_workspace(_databricks_workspace_process: Workspace) -> Workspace:
    """A workspace that is reset for each test."""
    _databricks_workspace_process.reset()
    return _databricks_workspace_process


@pytest.fixture(scope="session")
def databricks_workspace_session(databricks_workspace_options: list[str]) -> Iterator[Workspace]:
    """One workspace that keeps its state over all tests of this process, beside that of `databricks_workspace`."""
    with Workspace.start(*databricks_workspace_options) as workspace:
        yield workspace
