from __future__ import annotations

import hashlib
import json
from types import MappingProxyType

import pytest

from results.hashing import config_hash, sha256_hex


def test_is_the_sha256_of_canonical_json():
    canonical = b'{"a":[1,2.5],"b":{"c":true,"d":"\\u00fc"}}'
    assert config_hash({"b": {"d": "ü", "c": True}, "a": [1, 2.5]}) == hashlib.sha256(canonical).hexdigest()[:16]


def test_a_known_answer():
    # printf '{"x":1}' | sha256sum
    assert config_hash({"x": 1}) == "5041bf1f713df204"


def test_survives_json_and_the_kind_of_mapping():
    config = {"rate": 2.5e-4, "tiny": 1e-17, "whole": 1.0, "sizes": (32, 64), "inner": MappingProxyType({"x": None})}
    read_back = json.loads(json.dumps({**config, "inner": {"x": None}}))
    assert config_hash(config) == config_hash(read_back)


@pytest.mark.parametrize(
    "other", [{"a": 2}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"b": 1}, {"a": 1, "b": 1}, {"a": [1]}]
)
def test_every_change_of_a_value_changes_it(other: dict):
    assert config_hash({"a": 1}) != config_hash(other)


def test_refuses_what_json_would_bend():
    with pytest.raises(ValueError, match="JSON compliant"):
        config_hash({"a": float("inf")})
    with pytest.raises(TypeError, match="keys"):
        config_hash({"a": {1: 2}})
    with pytest.raises(TypeError):
        config_hash({"a": {1, 2}})


def test_sha256_of_nothing():
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
