"""Addresses as processes register them."""

import pytest

from sample_cluster.core.address import split_address


def test_host_and_port_are_read_and_brackets_taken_off() -> None:
    assert split_address("127.0.0.1:8801") == ("127.0.0.1", 8801)
    assert split_address("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:0", "host:99999", "host:x", "a@host:80", "host:80/x", "[::1:80"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        split_address(text)
