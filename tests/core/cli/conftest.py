"""The command line in this process, on the toy."""

import numpy as np
import pytest

from unembed import cli
from unembed.testing.toy import toy_inverter


@pytest.fixture
def run(toy_plugin, capsys):
    """`run("invert", …)` gives the exit code, standard output and standard error."""

    def call(*arguments) -> tuple[int, str, str]:
        code = cli._run([str(word) for word in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def vectors(tmp_path):
    np.save(tmp_path / "v.npy", toy_inverter().embed(["cafe", "bead"]).numpy())
    return tmp_path / "v.npy"
