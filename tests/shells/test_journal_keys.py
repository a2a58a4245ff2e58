"""Keys for journals: what is sealed with the public half, only the private half opens."""

import subprocess
import sys
from pathlib import Path

import nacl.public
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate.journal_keys import PRIVATE, PUBLIC, BadKey, new_pair, opened, sealed
from stargate_core.config.schema import Journal
from stargate_core.journal.format import MAGIC, SEALED_MAGIC, Unreadable, read

PUBLIC_KEY, PRIVATE_KEY = new_pair()


class TestSealing:
    @given(st.binary(max_size=200))
    def test_what_was_sealed_is_opened(self, data: bytes) -> None:
        assert opened(sealed(data, PUBLIC_KEY), PRIVATE_KEY) == data

    def test_nothing_of_it_can_be_read_without_the_key(self) -> None:
        data = sealed(MAGIC + b"PLANTED", PUBLIC_KEY)
        assert data.startswith(SEALED_MAGIC)
        assert b"PLANTED" not in data
        with pytest.raises(Unreadable, match="it is encrypted"):
            read(data)

    def test_another_key_does_not_open_it(self) -> None:
        _, other = new_pair()
        with pytest.raises(Unreadable, match="this key does not open it"):
            opened(sealed(b"x", PUBLIC_KEY), other)

    @pytest.mark.parametrize("at", [0, 40, -1])
    def test_a_changed_one_is_noticed(self, at: int) -> None:
        data = bytearray(sealed(b"x" * 50, PUBLIC_KEY))
        data[len(SEALED_MAGIC) + at if at >= 0 else at] ^= 1
        with pytest.raises(Unreadable):
            opened(bytes(data), PRIVATE_KEY)

    def test_any_libsodium_opens_it(self) -> None:
        private = nacl.public.PrivateKey.generate()
        text = PUBLIC + nacl.encoding.URLSafeBase64Encoder.encode(bytes(private.public_key)).decode()
        data = sealed(b"words", text.rstrip("="))
        assert nacl.public.SealedBox(private).decrypt(data.removeprefix(SEALED_MAGIC)) == b"words"


class TestKeys:
    def test_a_pair_is_like_no_other(self) -> None:
        keys = {key for _ in range(20) for key in new_pair()}
        assert len(keys) == 40

    def test_the_configuration_takes_the_public_one(self) -> None:
        assert PUBLIC_KEY.startswith(PUBLIC)
        assert PRIVATE_KEY.startswith(PRIVATE)
        assert Journal(encrypt_to=PUBLIC_KEY).encrypt_to == PUBLIC_KEY

    @pytest.mark.parametrize(
        "text",
        ["", "nonsense", PRIVATE_KEY, PUBLIC_KEY[:-1], PUBLIC_KEY + "A", PUBLIC + "*" * 43],
        ids=["empty", "nonsense", "private", "too short", "too long", "not base64"],
    )
    def test_what_is_no_public_key_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(BadKey, match=f"^expected a key that begins with {PUBLIC}$"):
            sealed(b"", text)

    def test_nor_does_the_public_one_open_anything(self) -> None:
        with pytest.raises(BadKey, match=PRIVATE):
            opened(sealed(b"", PUBLIC_KEY), PUBLIC_KEY)

    def test_a_line_end_around_it_does_no_harm(self) -> None:
        assert opened(sealed(b"x", PUBLIC_KEY), f"{PRIVATE_KEY}\n") == b"x"


def test_without_the_library_it_says_which_one_it_needs() -> None:
    program = "import sys; sys.modules['nacl.exceptions'] = None; import stargate.journal_keys"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr.endswith("it needs PyNaCl: pip install 'stargate-gateway[journal]'\n")


def test_nor_does_a_gateway_start_that_is_to_encrypt(tmp_path: Path) -> None:
    file = tmp_path / "stargate.yaml"
    file.write_text(f"gateway: {{journal: {{directory: {tmp_path}, encrypt_to: {PUBLIC_KEY}}}}}")
    program = (
        "import sys; sys.modules['nacl.exceptions'] = None\n"
        "from stargate.cli.main import main; main(['serve', '-c', sys.argv[1]])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, file], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "Error: it needs PyNaCl: pip install 'stargate-gateway[journal]'" in ran.stderr
