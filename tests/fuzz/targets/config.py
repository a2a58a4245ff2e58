"""Any text is a Config or a list of problems, each with its place in the text, and never an exception; and a
text whose variables are escaped expands to itself.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from stargate_core.config.expand import ExpansionError, escape, expand
from stargate_core.config.load import DEFAULTS, digest, examine
from stargate_core.config.plugin_configs import BUILT_IN

ENVIRON: Final = {"A": "a", "EMPTY": "", "N": "8080", "S": "${A}", "Y": "[x: {"}
WORDS: Final = (
    *(
        b'_format_version: "3.0"\n',
        b"gateway:\n",
        b"plugins:\n",
        b"services:\n",
        b"routes:\n",
        b"consumers:\n",
    ),
    *(
        b"  - name: ",
        b"    config:\n",
        b"bedrock-proxy",
        b"rate-limiter",
        b"api-key-auth",
        b"jwt-auth",
        b"response-cache",
    ),
    *(
        b"request-logger",
        b"response-transform",
        b"${A}",
        b"${B:-x}",
        b"${",
        b"$${",
        b"${EMPTY:-",
        b"&a ",
        b"*a",
        b"<<: ",
    ),
    *(
        b"!!binary ",
        b"!!python/name:x",
        b"---\n",
        b"? ",
        b": ",
        b"| \n",
        b"> \n",
        b"0x1f",
        b"1e3",
        b".nan",
        b"~",
        b"\t",
    ),
    *(
        b"keyauth_credentials:",
        b"targets:",
        b"models:",
        b"store: redis://h",
        b"listen: ",
        b"time_limits: ",
        b"limits:",
    ),
)


def target(data: bytes) -> None:
    """Load the text."""
    text = data.decode(errors="replace")
    lines = (
        text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029")
    )
    found = examine(text, filename="f", environ=ENVIRON, schemas=BUILT_IN)
    assert (found.config is None) is bool(found.problems)
    for note in (*found.problems, *found.warnings):
        assert note.file != "f" or 1 <= note.line <= lines + 1, "a place that is none"
        assert note.column >= 1
        str(note)
    if found.config is not None:
        digest(found.config)
        msgspec.structs.asdict(found.config)
    assert expand(escape(text), ENVIRON).text == text
    try:
        expand(text, ENVIRON)
    except ExpansionError as error:
        assert error.message


def seeds() -> Iterator[bytes]:
    """The defaults, and a file that mentions everything once."""
    yield DEFAULTS.encode()
    yield from _FILES


_FILES: Final = (
    b"""_format_version: "3.0"
plugins:
- name: rate-limiter
  config:
    limits: [{requests: 5, per: minute}]
- name: jwt-auth
  config: {issuers: [{issuer: x, jwks_url: 'https://x/y', audience: a}]}
""",
    b"""gateway:
  listen: [127.0.0.1:${N}]
  store: redis://:${A}@h:1/2
  time_limits: {total: 10, connect: 1.5}
""",
    b"""plugins:
- name: bedrock-proxy
  config:
    targets:
    - {name: a, region: us-east-1, weight: 2}
    retry: {count: 1}
""",
    b"""consumers:
- username: ann
  keyauth_credentials:
  - key: ${KEY:-sk-0123456789abcdef}
  groups: [{name: g}]
""",
    b"""services:
- name: s
  routes:
  - {name: r, paths: [/x], methods: [POST]}
  plugins: [{name: request-logger}]
""",
    b"""plugins: &p
- <<: {name: response-cache}
  config: *p
""",
)
