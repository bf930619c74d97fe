"""The kinds of span that matter, and how much."""

from dataclasses import dataclass

__all__ = ["KINDS", "Kind", "level"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding.

    `one` and `many` name it in prose. `severity` is 0 to 10, on the scale of SARIF's `security-severity`: what one such
    span in the wrong hands is worth, by our own judgement. `tagged` kinds have no format of their own: only a tagger
    finds them.
    """

    name: str
    one: str
    many: str
    severity: float
    tagged: bool = False


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("secret", "password or key", "passwords and keys", 9.1),
        Kind("card", "payment card number", "payment card numbers", 8.2),
        Kind("iban", "IBAN", "IBANs", 7.4),
        Kind("account", "account number", "account numbers", 7.0),
        Kind("diagnosis", "diagnosis", "diagnoses", 7.5, tagged=True),
        Kind("drug", "drug", "drugs", 6.5, tagged=True),
        Kind("lab", "laboratory value", "laboratory values", 6.0, tagged=True),
        Kind("dose", "dose", "doses", 5.0),
        Kind("name", "name of a person", "names of people", 6.0, tagged=True),
        Kind("address", "postal address", "postal addresses", 6.0),
        Kind("email", "e-mail address", "e-mail addresses", 5.5),
        Kind("phone", "telephone number", "telephone numbers", 5.5),
        Kind("id", "record or document number", "record and document numbers", 4.5),
        Kind("user", "user name", "user names", 4.5),
        Kind("amount", "amount of money", "amounts of money", 4.0),
        Kind("ip", "IP address", "IP addresses", 4.0),
        Kind("date", "date", "dates", 3.0),
        Kind("org", "organisation", "organisations", 3.0, tagged=True),
        Kind("url", "web address", "web addresses", 3.0),
        Kind("place", "place", "places", 2.0, tagged=True),
        Kind("time", "time of day", "times of day", 1.0),
    )
}


def level(severity: float) -> str:
    """SARIF's level for a severity of 0 to 10: error from 7, warning from 4, else note."""
    return "error" if severity >= 7 else "warning" if severity >= 4 else "note"
