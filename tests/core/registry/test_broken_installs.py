"""Broken packages beside good ones, installed for real: nothing else breaks, and it is said whose fault it is."""

import json

import pytest

OFFER = """
import unembed

@unembed.hookimpl
def {hook}():
    return [unembed.InverterSpec("{name}", "words", make)]

def make(device):
    from unembed.testing.toy import toy_inverter
    return toy_inverter(device)
"""
PACKAGES = {
    "good": OFFER.format(hook="register_inverters", name="good"),
    "absent": "import no_such_library",
    "exiting": "raise SystemExit('no licence')",
    "left": OFFER.format(hook="register_inverters", name="tune"),
    "right": OFFER.format(hook="register_inverters", name="tune"),
    "typo": OFFER.format(hook="register_invertors", name="typo"),
}
AT_FAULT = {
    "absent": "No module named 'no_such_library'",
    "exiting": "no licence",
    "left": "inverter 'tune' is offered by both unembed-left (left) and unembed-right (right)",
    "right": "inverter 'tune' is offered by both unembed-left (left) and unembed-right (right)",
    "typo": "unknown hook 'register_invertors'",
}


@pytest.fixture(scope="module")
def broken(environment_of, tmp_path_factory):
    """What installing each package leaves behind: a module, and metadata with an entry point."""
    environment = environment_of(tmp_path_factory.mktemp("broken") / "environment")
    site = environment.site
    for name, code in PACKAGES.items():
        (site / f"unembed_{name}.py").write_text(code)
        metadata = site / f"unembed_{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: unembed-{name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[unembed]\n{name} = unembed_{name}\n")
    return environment


def test_broken_installs_are_listed_with_their_package_and_fault(broken) -> None:
    rows = {row["name"]: row for row in map(json.loads, broken.unembed("plugins", "--json").splitlines())}
    for name in PACKAGES:
        assert rows[name]["package"] == f"unembed-{name}"
        assert AT_FAULT.get(name, "None") in str(rows[name]["error"])
    assert rows["text"]["error"] is None and rows["text"]["inverters"]
    table = broken.unembed("plugins")
    assert "absent  (unembed-absent 1.0)\n  at fault: ModuleNotFoundError" in table


def test_what_isnt_broken_works_beside_it(broken) -> None:
    row = json.loads(broken.unembed("invert", "cafe", "--inverter", "good", "--json"))
    assert row["reconstruction"] == "cafe"
    assert broken.unembed("check", "good").endswith(" passed, 0 failed\n")


@pytest.mark.parametrize("name", ["absent", "exiting", "tune", "typo"])
def test_asking_for_what_is_broken_names_its_package(broken, name) -> None:
    code = f"import unembed\ntry: unembed.load({name!r}, device='cpu')\nexcept unembed.PluginError as e: print(e)"
    told = broken.run("-c", code)
    assert AT_FAULT.get(name, AT_FAULT["left"]) in told
    assert ("unembed-left" if name == "tune" else f"unembed-{name}") in told
