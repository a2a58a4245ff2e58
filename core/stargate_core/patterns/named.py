r"""Patterns by name: what people and machines are known by, as far as its form tells it.

Only what has a form that can be checked is here. Names of people and streets have none, and a list that
claims to find them would be believed.

    email           an address of mail, in letters of any script
    phone           E.164 (+49 30 1234567, 0049…), and numbers whose separators tell them: (415) 555-0100
    credit_card     13 to 19 digits, also in groups, that pass Luhn's check
    iban            passes the check of ISO 13616 (modulo 97)
    us_ssn          three, two and four digits with separators; none of the numbers that are never given
    ip_address      IPv4 and IPv6
    aws_access_key  the id of an access key
    aws_secret      40 characters of base64, mixed as those of secret access keys are
    jwt             a JSON Web Token
    api_key         keys that begin as those of well-known services do

A pattern says what must not stand beside a match, and as little as possible of that: what stands there for no
reason would be a way past it.

Sources: RFC 5321, 4.5.3.1; ITU-T E.164; ISO/IEC 7812-1; ISO 13616-1; SSA, "Social Security Number
Randomization"; AWS IAM user guide, "IAM identifiers"; RFC 7519; the services' own pages on their keys.
"""

import functools
import ipaddress
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

from stargate_core.patterns.finder import Pattern
from stargate_core.patterns.syntax import parse

Name: TypeAlias = Literal[
    "email",
    "phone",
    "credit_card",
    "iban",
    "us_ssn",
    "ip_address",
    "aws_access_key",
    "jwt",
    "api_key",
    "aws_secret",
]
NAMES: Final[tuple[Name, ...]] = get_args(Name)
"""All names."""


def luhn(text: str) -> bool:
    """Whether the digits of a text are a card's number."""
    digits = [int(character) for character in text if character.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if at % 2 else digit for at, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def iban(text: str) -> bool:
    """Whether a text is the number of a bank account."""
    plain = text.replace(" ", "").upper()
    turned = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(one, 36)) for one in turned)) % 97 == 1


def us_ssn(text: str) -> bool:
    """Whether a number is one that may have been given."""
    area, group, serial = text[:3], text[4:6], text[7:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def phone(text: str) -> bool:
    """Whether a number has as many digits as E.164 allows."""
    return 7 <= sum(character.isdigit() for character in text) <= 15


def ip_address(text: str) -> bool:
    """Whether a text is an address; `a::b` is more often a name of some programming language."""
    if ":" in text and (sum(map(bool, text.split(":"))) < 2 or not any(map(str.isdigit, text))):
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def aws_secret(text: str) -> bool:
    """Whether the characters are mixed as chance mixes them: a digest in hexadecimal digits is not."""
    return any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text))


_NUMBER: Final = r"[0-9]"
_ALNUM: Final = r"[A-Za-z0-9]"


def _named(
    name: str,
    source: str,
    check: Callable[[str], bool] | None = None,
    *,
    not_before: str = "",
    not_behind: str = "",
    tail: str = "",
    hint: str = "",
) -> Pattern:
    return Pattern(name, parse(source), not_before, not_behind, check, tail, hint)


@functools.lru_cache(maxsize=1)
def named() -> dict[str, tuple[Pattern, ...]]:
    """All of them, by name, in the order in which they are asked."""
    patterns = (*_of_people(), *_of_machines())
    return {name: tuple(one for one in patterns if one.name == name) for name in NAMES}


def _of_people() -> tuple[Pattern, ...]:
    return (
        _named(
            "email",
            r"[\w.%+'-]+@(?:[\w-]+\.)+[^\W\d_]{2,24}",
            not_before=r"[\w.%+'-]",
            hint=r"[\w.%+'-]+@",
        ),
        _named(
            "phone",
            r"\+[1-9](?:[ .()/-]{0,2}[0-9]){6,14}|00[1-9](?:[ ./-]?[0-9]){7,14}"
            r"|(?:1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
            r"|0[1-9][0-9]{1,4}[ /-][0-9]{2,4}(?:[ -]?[0-9]{2,4}){1,3}",
            phone,
            hint=r"[+(]|[0-9](?=0[1-9]|[ .-][(2-9]|[0-9]{2,5}[ /.-])",
            not_before=r"[0-9+]",
            not_behind=_NUMBER,
        ),
        _named(
            "credit_card",
            r"[0-9](?:[ -]?[0-9]){12,18}",
            luhn,
            hint=r"[0-9](?=(?:[ -]?[0-9]){12})",
            not_before=_NUMBER,
            not_behind=_NUMBER,
        ),
        _named(
            "iban",
            r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}|[a-z]{2}[0-9]{2}[a-z0-9]{11,30}",
            iban,
            hint=r"[A-Za-z](?=[A-Za-z][0-9]{2})",
            not_before=_ALNUM,
            not_behind=_ALNUM,
        ),
        _named(
            "us_ssn",
            r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}",
            us_ssn,
            hint=r"[0-9](?=[0-9]{2}[ -][0-9]{2}[ -])",
            not_before=_NUMBER,
            not_behind=_NUMBER,
        ),
        _named(
            "ip_address",
            r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
            ip_address,
            hint=r"[0-9](?=[0-9]{0,2}\.[0-9])",
            not_before=r"[0-9.]",
            not_behind=_NUMBER,
        ),
        _named(
            "ip_address",
            r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]{2,40}",
            ip_address,
            hint=r"[0-9A-Fa-f](?=[0-9A-Fa-f]{0,3}:)|:",
            not_before=r"[0-9A-Za-z.]",
            not_behind=_NUMBER,
        ),
    )


def _of_machines() -> tuple[Pattern, ...]:
    return (
        _named(
            "aws_access_key",
            r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
            hint="AKIA|ASIA|ABIA|ACCA",
            not_before=_ALNUM,
            not_behind=_ALNUM,
        ),
        _named(
            "jwt",
            r"eyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_.-]*",
            not_before=r"[A-Za-z0-9_-]",
            tail=r"[A-Za-z0-9_.-]",
            hint="eyJ",
        ),
        _named(
            "api_key",
            r"(?:sk-|sk_live_|sk_test_|rk_live_|gh[opusr]_|github_pat_|glpat-|npm_|hf_|AIza|xox[abeoprs]-)"
            r"[A-Za-z0-9_-]{16,}",
            hint="sk-|sk_|rk_|gh[opusr]_|github_|glpat-|npm_|hf_|AIza|xox[abeoprs]-",
            not_before=_ALNUM,
            tail=r"[A-Za-z0-9_-]",
        ),
        _named(
            "aws_secret",
            r"[A-Za-z0-9/+]{40}",
            aws_secret,
            hint=r"[A-Za-z0-9/+]{40}",
            not_before=r"[A-Za-z0-9/+]",
            not_behind=r"[A-Za-z0-9/+=]",
        ),
    )
