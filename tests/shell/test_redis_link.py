"""Redis URLs of all kinds; what is wrong with a bad one is said without its password."""

import pytest

from sample_cluster.redis_link import connect_redis
from wsmon.agent.redis_url import ClusterUrl, PlainUrl, SentinelUrl, is_redis_url, parse_redis_url, shown

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "meaning"),
    [
        ("redis://h:1/2", PlainUrl("redis://h:1/2")),
        (f"rediss://u:{SECRET}@[::1]:7/0?a=b", PlainUrl(f"rediss://u:{SECRET}@[::1]:7/0?a=b")),
        ("unix:///run/redis.sock?db=1", PlainUrl("unix:///run/redis.sock?db=1")),
        ("redis+sentinel://a,b:2/main", SentinelUrl((("a", 26_379), ("b", 2)), "main")),
        (
            f"redis+sentinel://me:{SECRET}%40%2F@[::1]:5,b/ma%20in/3",
            SentinelUrl((("::1", 5), ("b", 26_379)), "ma in", 3, "me", f"{SECRET}@/"),
        ),
        ("redis+cluster://a,b:2", ClusterUrl((("a", 6_379), ("b", 2)))),
        (f"REDIS+CLUSTER://:{SECRET}@a/", ClusterUrl((("a", 6_379),), None, SECRET)),
        ("redis+cluster://me@a", ClusterUrl((("a", 6_379),), "me", None)),
    ],
)
def test_a_url_names_servers(url: str, meaning: object) -> None:
    assert parse_redis_url(url) == meaning
    assert is_redis_url(url)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("redis:/h", "that is not a Redis URL; allowed: redis://host:port"),
        ("http://h", "that is not a Redis URL"),
        ("redis://", "redis:// names no server"),
        ("unix://", "unix:// has no path"),
        (f"unix://:{SECRET}@?db=1", "unix:// has no path"),
        (f"redis://:{SECRET}/x@h:1", "redis:// has an address without a host"),
        (f"redis://u:{SECRET}/x@h:1", "redis:// has a port that is not a number"),
        (f"redis://:{SECRET}@h:x", "redis:// has a port that is not a number"),
        (f"redis+sentinel://:{SECRET}@a:1", "redis+sentinel:// has no service"),
        (f"redis+sentinel://:{SECRET}@a:1/", "redis+sentinel:// has no service"),
        (f"redis+sentinel://:{SECRET}@/main", "redis+sentinel:// names no server"),
        (f"redis+sentinel://:{SECRET}@a,/main", "redis+sentinel:// has an address without a host"),
        (f"redis+sentinel://:{SECRET}@a:70000/main", "a port that is not a number from 1 to 65535"),
        (f"redis+sentinel://:{SECRET}@a:0/main", "a port that is not a number from 1 to 65535"),
        (f"redis+sentinel://:{SECRET}@[::1/main", "an address without a host"),
        (f"redis+sentinel://:{SECRET}@[::1]7/main", "an address without a host"),
        (f"redis+sentinel://:{SECRET}@a/main/x", "a database that is not a number"),
        (f"redis+sentinel://:{SECRET}@a/main?db=1", "takes no options"),
        (f"redis+cluster://:{SECRET}@a/1", "redis+cluster:// takes no path"),
        (f"redis+cluster://:{SECRET}/@a", "redis+cluster:// takes no path"),
        (f"redis+cluster://:{SECRET}#@a", "takes no options"),
        (f"redis+cluster://:{SECRET}@", "redis+cluster:// names no server"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_its_password(url: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        connect_redis(url)
    assert wrong in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (f"redis://u:{SECRET}@h:1/0", "redis://h:1"),
        (f"redis://:a/{SECRET}@h:1/0", "redis://h:1"),
        (f"unix://:{SECRET}@/run/redis.sock?password={SECRET}", "unix:///run/redis.sock"),
        (f"redis+sentinel://:{SECRET}@a:1,b:2/main", "redis+sentinel://a:1,b:2/main"),
        (f"redis+cluster://:{SECRET}@a:1,b:2", "redis+cluster://a:1,b:2"),
        (f":{SECRET}@a", "that URL"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, text: str) -> None:
    assert shown(url) == text


@pytest.mark.parametrize(
    "url", [f"redis://u:{SECRET}@h", f"redis+sentinel://u:{SECRET}@h/main", f"redis+cluster://u:{SECRET}@h"]
)
def test_a_parsed_url_and_a_client_do_not_show_the_password(url: str) -> None:
    assert SECRET not in repr(parse_redis_url(url))
    assert SECRET not in repr(connect_redis(url))


@pytest.mark.parametrize("text", ["demo", "./redis.json", "redis:", "http://h", ""])
def test_other_targets_are_no_redis_urls(text: str) -> None:
    assert not is_redis_url(text)
