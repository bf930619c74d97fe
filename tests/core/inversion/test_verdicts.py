"""What is said of a result: that its vector is strange, that its input is longer, that something is unseen."""

import torch

from unembed.inversion.calibration import Calibration, verdicts
from unembed.inversion.inverter import Inverter
from unembed.testing.toy import NearestWords, OneLetter, ToyCodec, ToyEmbedder


class Hiding(ToyCodec):
    """Words in which the embedder can't see an h."""

    def _unseen(self, signals):
        return (signals == 8).any(1)


def inverter(**options) -> Inverter:
    embedder, codec = ToyEmbedder(), options.pop("codec", ToyCodec())
    return Inverter(
        name="toy",
        embedder=embedder,
        hypothesizer=NearestWords(embedder, codec),
        corrector=OneLetter(embedder.table),
        codec=codec,
        **options,
    )


def test_a_result_as_long_as_it_can_be_and_not_solved_is_of_a_longer_input() -> None:
    made = inverter(longest=4)
    vectors = made.embed(["cafe", "deadbeef"])
    found = made.invert(vectors, effort="max")
    assert found.objects[0] == "cafe" and found.verdict == (None, None)  # what is solved isn't longer
    early = made.invert(vectors[1:], steps=0)
    assert early.stopped != ("solved",) and early.verdict == ("longer",)
    assert inverter().invert(vectors[1:], steps=0).verdict == (None,)


def test_what_the_embedder_cannot_see_is_said() -> None:
    made = inverter(codec=Hiding())
    found = made.invert(made.embed(["cafe", "head"]), effort="max")
    assert found.objects == ["cafe", "head"] and found.verdict == (None, "unseen")


def test_unlike_comes_before_anything_else() -> None:
    floor = Calibration(similarity=[-1.0], probability=[0.5], n=1, floor=0.999)
    similarity, stopped = torch.tensor([0.9, 1.0]), ("steps", "solved")
    said = verdicts(["h", "h"], torch.tensor([[8], [8]]), similarity, stopped, Hiding(), 1, floor)
    assert said == ("unlike", "unseen")
