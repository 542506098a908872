"""What all tests share."""

import socket

import pytest
from huggingface_hub import constants
from hypothesis import settings

# The same examples on every computer and every day: a red test is a change's
# doing; and a busy computer is no error.  To look for new ones:
# pytest --hypothesis-profile=default
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


@pytest.fixture
def no_network(monkeypatch):
    """Every way out is closed; gives the list of attempts."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise OSError("the network is closed in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return attempts


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub's models."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"
