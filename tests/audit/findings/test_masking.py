"""What is blotted out, and what can still be read."""

from unembed_audit.findings.detect import detect
from unembed_audit.findings.finding import Finding
from unembed_audit.findings.masking import mask, mask_unknown, mask_value


def test_the_form_of_a_value_stays_and_its_letters_go():
    finding = Finding("email", 0, 20, "jane.doe@example.com", 0.9)
    assert mask_value(finding) == "j███.███@███████.███"


def test_not_even_the_length_of_a_secret_stays():
    assert mask_value(Finding("secret", 0, 3, "abc", 0.9)) == mask_value(Finding("secret", 0, 20, "x" * 20, 0.9))


def test_a_masked_text_holds_none_of_its_findings():
    text = "pay $ 1, 200. 50 to jane. doe @ example. com by 12 / 03 / 2024"
    found = detect(text)
    masked = mask(text, found)
    assert len(found) == 3
    for one in found:
        assert one.value not in masked and text[one.start : one.end] not in masked
    assert masked.startswith("pay ")


def test_without_names_every_unknown_word_goes_too():
    text = "the account of rosalind franklin is closed"
    assert mask_unknown(text, []) == "the account of ████████ ████████ is ██████"
