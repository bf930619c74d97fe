"""Signatures: learnt, written, read; the shipped file."""

import numpy as np
import pytest

from unembed.errors import InputError
from unembed_audit.identify.signatures import learn, read_signatures, unit, write_signatures


def vectors(seed, n=400, width=32):
    """Vectors of a made-up embedder: its own mean direction, its own spread of each value."""
    own, draw = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    mean, deviation = own.normal(size=width) * 0.1, 0.1 + own.random(width) * 0.3
    return (mean + deviation * draw.normal(size=(n, width))).astype(np.float32)


def test_a_signature_read_back_is_the_same(tmp_path):
    made = [learn("a", vectors(1), texts="made up"), learn("b", 3 * vectors(2, width=16), texts="made up")]
    write_signatures(made, tmp_path / "s.safetensors")
    read = {one.name: one for one in read_signatures(tmp_path / "s.safetensors")}
    for one in made:
        again = read[one.name]
        assert (again.mean == one.mean).all() and (again.deviation == one.deviation).all()
        assert (again.width, again.n, again.texts) == (one.width, one.n, one.texts)
        assert again.norm == pytest.approx(one.norm, abs=1e-6)


def test_evidence_is_for_the_own_vectors_and_against_others():
    signature = learn("a", vectors(1), texts="")
    own, other = (signature.evidence(unit(vectors(seed, n=200))) for seed in (1, 2))
    assert own.mean() > 0 > other.mean()


def test_few_vectors_make_no_signature():
    with pytest.raises(InputError, match="100 texts"):
        learn("a", vectors(1, n=99), texts="")


@pytest.mark.parametrize("content", [b"", b"nonsense"])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "s.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="no signatures"):
        read_signatures(tmp_path / "s.safetensors")


def test_the_shipped_file_knows_minilm():
    shipped = {one.name: one for one in read_signatures()}
    assert shipped["minilm"].width == 384
    assert shipped["minilm"].norm[0] == pytest.approx(1, abs=1e-5)
    assert shipped["minilm"].typical > 5
