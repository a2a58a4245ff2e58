"""Configurations: what redaction must know of them, and what of them goes."""

import hashlib
from typing import Final

import msgspec

from stargate_core.journal.redact.configured import configured, redact_configuration
from stargate_core.journal.redact.secrets import Secrets
from stargate_core.journal.redact.words import Words

DIGEST: Final = hashlib.sha256(b"a key").hexdigest()
CONFIG: Final = msgspec.json.encode(
    {
        "consumers": [
            {
                "username": "ann",
                "keyauth_credentials": [
                    {"key": "placeholder1"},
                    {"key_sha256": DIGEST},
                    {"key_sha256": None},
                ],
                "sigv4_credentials": [{"access_key_id": "AKIDANN", "secret_access_key": "placeholder2"}],
            }
        ],
        "plugins": [
            {"name": "api-key-auth", "config": {"key_names": ["X-Own-Key"]}},
            {
                "name": "jwt-auth",
                "config": {"issuers": [{"issuer": "https://a.test", "secret": "placeholder3"}]},
            },
            {"name": "bedrock-proxy", "config": {"models": {"claude": "anthropic.claude"}}},
        ],
    }
)


def test_what_must_be_known() -> None:
    found = configured({1: CONFIG})
    assert {"ann", "placeholder1", "https://a.test", "claude", "anthropic.claude"} <= found.texts
    assert not {DIGEST, "AKIDANN"} & found.texts
    assert found.key_headers == {b"x-own-key"}
    assert found.pairs == {"AKIDANN": ["placeholder2"]}
    assert found.codes == {"https://a.test": ["placeholder3"]}


def test_digests_and_ids_of_pairs_go_and_nothing_else() -> None:
    made = redact_configuration(CONFIG, Secrets(Words(b"salt"), frozenset()))
    assert len(made) == len(CONFIG)
    assert DIGEST.encode() not in made
    assert b"AKIDANN" not in made
    before, after = msgspec.json.decode(CONFIG), msgspec.json.decode(made)
    assert after["plugins"] == before["plugins"]


def test_what_cannot_be_read_says_nothing() -> None:
    assert configured({1: b"no JSON"}).texts == frozenset()
