"""Facts that servers state of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.runtimes.servers.server_facts import ServerFacts, entries, is_local

ADDRESSES = [
    ("http://127.0.0.1:8080/v1", True),
    ("http://203.0.113.7:8000/v1", True),
    ("https://localhost:8080/v1", True),
    ("https://192.168.1.9/v1", True),
    ("https://[::1]:8080/v1", True),
    ("https://gpu:8000/v1", True),
    ("https://gpu.lan/v1", True),
    ("https://api.openai.com/v1", False),
    ("https://8.8.8.8/v1", False),
    ("https://abc-8000.proxy.runpod.net/v1", False),
]


@pytest.mark.parametrize(("url", "local"), ADDRESSES)
def test_an_address_without_tls_or_of_a_private_network_is_no_hosted_service(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_times_ids_prices_and_settings_of_a_slot_are_no_lasting_facts() -> None:
    entry = {"id": "m", "created": 1, "permission": [{"id": "x"}], "pricing": {"prompt": "1"}, "owned_by": "me"}
    llama = {"default_generation_settings": [], "media_marker": "x", "is_sleeping": True, "total_slots": 4}
    assert ServerFacts(entry=entry, llama=llama).lasting() == {"owned_by": "me", "meta": [], "sampling": None}


@pytest.mark.parametrize("listed", [None, [], "x", {"data": None}, {"data": "x"}, {"data": [1, {}, {"name": "m"}]}])
def test_a_list_of_another_shape_has_no_models(listed: Any) -> None:
    assert entries(listed) == []
