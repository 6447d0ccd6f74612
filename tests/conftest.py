"""Fixtures that all rooms share. This folder's own modules (builders, made_tensors) can be imported by name."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache_folder(tmp_path_factory):
    """What the program keeps for the next time lies in a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
