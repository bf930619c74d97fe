"""A missing library of an extra is told with the command that brings it; others stay what they are."""

import pytest

from unembed.errors import MissingExtraError
from unembed.registry.extras import needs_extra


@needs_extra("image", "images need", {"absent_here"})
def made(name: str, *, more: int = 0) -> int:
    if name:
        __import__(name)
    return more


def test_a_library_of_the_extra_names_the_command() -> None:
    with pytest.raises(MissingExtraError, match=r"images need an extra: pip install 'unembed\[image\]'"):
        made("absent_here.part")


def test_what_isnt_of_the_extra_is_no_reason_to_install_it() -> None:
    with pytest.raises(ModuleNotFoundError, match="absent_there") as caught:
        made("absent_there")
    assert not isinstance(caught.value, MissingExtraError)
    assert made("", more=3) == 3 and made.__name__ == "made"
