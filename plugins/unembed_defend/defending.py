"""`defend`: one call from texts and defences to a folder with a report of what each defence is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from unembed import Inverter, __version__
from unembed.contract.defence import Defence
from unembed.inversion.keeping import digest
from unembed_audit.pipeline.ledger import Ledger
from unembed_defend.attackers.asking import attack_on, repeatable
from unembed_defend.attackers.attempts import CLEAN, Made, attacks_on, made_by
from unembed_defend.attackers.maps import linear_back
from unembed_defend.attackers.retraining import errors_left, retrained
from unembed_defend.attackers.seen import Attack, Attempt, Refused, Seen, unit
from unembed_defend.preparing import Material, Progress, UseData
from unembed_defend.report.summary import Cell, defence_entry, report_of
from unembed_defend.report.writing import write_report
from unembed_defend.searching import KEYS, Searches, effort_in_words, figures, headline, one_figure, weights_of
from unembed_defend.use.measuring import correlation, milliseconds, ndcg, neighbours_kept
from unembed_text.methods.adapted.fitting import FEWEST

__all__ = ["Plan", "defend"]

NOISE = 1  # seeds of what a defence draws: for the texts, for the others, for what use is measured on
OTHERS, DOCUMENTS, FIRST, SECOND = 2, 3, 4, 5


@dataclass(frozen=True)
class Plan:
    """How the attackers are run.

    Searches are of that `effort`, with `steps` and `beam` in place of its own, if given. Every attacker is tried on the
    first `pilot` texts, and the strongest of them on all; 0 runs all of them on all.
    `retrain` is how many minutes the network of the checkpoint folder `base` is trained against each defence; None
    leaves that attacker out. `place` names where the texts are from.
    """

    place: str = ""
    effort: str = "low"
    steps: int | None = None
    beam: int | None = None
    pilot: int = 8
    seed: int = 0
    retrain: float | None = None
    base: Path | None = None
    max_tokens: int | None = None
    restart: bool = False

    @property
    def search(self) -> str:
        """The effort in words."""
        return effort_in_words(self.effort, self.steps, self.beam)


def defend(
    inverter: Inverter,
    defences: Sequence[Defence],
    material: Material,
    folder: Path,
    plan: Plan,
    *,
    use: UseData | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Try `defences` on the vectors of `material`, and return the report as `report.json` has it.

    Each is fitted to the other texts' vectors. What attackers recovered is in `records.jsonl` as soon as it is known;
    called again with the same material and plan, it goes on there, also with further defences. The report is written
    anew after each defence. Raises InputError for a folder begun with another plan.
    """
    run = _Run(inverter, material, use or UseData(), folder, plan, on_progress)
    with Ledger(folder, run.settings(), restart=plan.restart, keys=KEYS, what="defences tried") as ledger:
        run.searches = Searches(
            ledger,
            folder,
            material.texts,
            effort=plan.effort,
            overrides={"steps": plan.steps, "beam": plan.beam},
            seed=plan.seed,
            on_progress=on_progress,
        )
        entries = [run.clean()]
        for defence in defences:
            entries.append(run.tried(defence))
            report = report_of(entries, run.conditions(), complete=len(entries) == 1 + len(defences))
            write_report(folder, report)
    return report


class _Run:
    """One run over several defences."""

    searches: Searches

    def __init__(
        self,
        inverter: Inverter,
        material: Material,
        use: UseData,
        folder: Path,
        plan: Plan,
        on_progress: Progress | None,
    ) -> None:
        self.inverter, self.material, self.use, self.plan = inverter, material, use, plan
        self.folder, self.on_progress = folder, on_progress
        self.all = range(len(material.texts))
        self.few = range(min(plan.pilot, len(material.texts))) if plan.pilot else self.all
        self.metric = headline(inverter)

    def settings(self) -> dict[str, Any]:
        """What rows depend on."""
        return {
            "texts": digest(*self.material.texts),
            "others": digest(*self.material.others),
            "inverter": self.inverter.name,
            "weights": weights_of(self.inverter),
            "embedder": self.inverter.embedder.name,
            "effort": self.plan.search,
            "seed": self.plan.seed,
            "version": __version__,
        }

    def conditions(self) -> dict[str, Any]:
        """What the figures hold for."""
        use = self.use
        return {
            "data": self.plan.place,
            "texts": len(self.material.texts),
            "others": len(self.material.others),
            "max_tokens": self.plan.max_tokens,
            "inverter": self.inverter.name,
            "embedder": self.inverter.embedder.name,
            "width": self.inverter.dimension,
            "effort": self.plan.search,
            "pilot": len(self.few),
            "seed": self.plan.seed,
            "retrain": self.plan.retrain,
            "metric": self.metric,
            "metrics": [*self.inverter.metrics, "exact_match"],
            "documents": None if use.retrieval is None else len(use.retrieval.documents),
            "queries": None if use.retrieval is None else len(use.retrieval.queries),
            "pairs": None if use.pairs is None else len(use.pairs.scores),
            "version": __version__,
            "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        }

    def clean(self) -> dict[str, Any]:
        """The entry of vectors without a defence."""
        made = Made(CLEAN, Attempt(self.material.clean, "float32", "no defence"), 1.0)
        cell = self._ran(made, CLEAN, self.all)
        width = self.inverter.dimension
        use = self._use(None, self.material.public)
        return defence_entry(CLEAN, "", [cell], cosine=1.0, mapped=1.0, use=use, size=4.0 * width, metric=self.metric)

    def tried(self, defence: Defence) -> dict[str, Any]:
        """The entry of one defence."""
        material, plan = self.material, self.plan
        learnt = material.public if len(material.public) else material.clean
        defence.fit(learnt, plan.seed)
        stored = defence.apply(material.clean, plan.seed + NOISE)
        others = defence.apply(material.public, plan.seed + OTHERS) if len(material.public) else stored[:0]
        seen = Seen(defence, stored, material.public, others)
        made = made_by(self._attacks(), seen, material.clean)
        if not plan.pilot:
            made = [replace(one, behind=None) for one in made]
        made = [*made, self._asking(defence, seen, made), self._retrained(defence, seen, made)]
        cells = [self._cell(one, defence) for one in made]
        cells = self._strongest_on_all(cells, made, defence)
        return defence_entry(
            defence.name,
            defence.granted,
            cells,
            cosine=_cosine(stored, material.clean),
            mapped=_mapped(seen, material.clean),
            use=self._use(defence, others),
            size=defence.size(stored.shape[1]),
            metric=self.metric,
        )

    def _attacks(self) -> dict[str, Attack]:
        return attacks_on(self.inverter.dimension, hears=bool(self.inverter.told(1.0)))

    def _cell(self, made: Made, defence: Defence) -> Cell:
        if isinstance(made.attempt, Refused):
            state = "not run" if made.attempt.applies else "doesn't apply"
            return Cell(made.attacker, state, made.attempt.why)
        if made.behind is not None:
            why = f"{made.attempt.how}; not searched, since {made.behind} come as near or nearer"
            return Cell(made.attacker, "passed over", why, made.cosine)
        if made.same is not None:
            whose = CLEAN if made.same == CLEAN else defence.name
            rows = self.searches.run(self.inverter, made.attempt, whose, made.same, self.few)
            return self._figures(made, rows, f"{made.attempt.how}; the same vectors as {made.same}, so its results")
        return self._ran(made, defence.name, self.few)

    def _ran(self, made: Made, defence: str, places: range) -> Cell:
        assert isinstance(made.attempt, Attempt)
        rows = self.searches.run(made.inverter or self.inverter, made.attempt, defence, made.attacker, places)
        return self._figures(made, rows, made.attempt.how)

    def _figures(self, made: Made, rows: list[dict[str, Any]], how: str) -> Cell:
        texts = self.material.texts
        found = figures(self.inverter, texts, rows, seed=self.plan.seed)
        places = [row["text"] for row in rows]
        clean = self.searches.run(self.inverter, self._without(), CLEAN, CLEAN, places)
        best = one_figure(self.inverter, self.metric, texts, clean)
        share = None if not best else found[self.metric] / best
        return Cell(made.attacker, "ran", how, made.cosine, found, share, made.same)

    def _without(self) -> Attempt:
        return Attempt(self.material.clean, "float32", "no defence")

    def _strongest_on_all(self, cells: list[Cell], made: list[Made], defence: Defence) -> list[Cell]:
        """The cells, that of the strongest of the few texts measured on all of them."""
        ran = [(cell, one) for cell, one in zip(cells, made, strict=True) if cell.figures is not None]
        if not ran or len(self.few) == len(self.all):
            return cells
        best, one = max(ran, key=lambda pair: ((pair[0].figures or {})[self.metric], pair[0].cosine or 0.0))
        assert isinstance(one.attempt, Attempt)
        whose, who = (CLEAN, CLEAN) if one.same == CLEAN else (defence.name, one.same or one.attacker)
        rows = self.searches.run(one.inverter or self.inverter, one.attempt, whose, who, self.all)
        return [self._figures(one, rows, cell.why) if cell is best else cell for cell in cells]

    def _asking(self, defence: Defence, seen: Seen, made: list[Made]) -> Made:
        """The attacker who searches for what is stored as the defence would store it."""
        name = "asking"
        if defence.keyed:
            return Made(name, Refused("what would be stored of a text depends on the secret"))
        if not len(seen.public) or not repeatable(defence, seen.public):
            return Made(name, Refused("what would be stored of a text is drawn anew each time"))
        if same := next((one.attacker for one in made if one.same == CLEAN), None):
            return Made(name, Refused(f"{same} has the clean vectors"))
        if len(seen.public) < FEWEST:
            return Made(name, Refused(f"needs {FEWEST} other texts; there are {len(seen.public)}", applies=True))
        found = attack_on(self.inverter, defence, seen.public, seed=self.plan.seed)
        if found.inverter is self.inverter:
            return Made(name, Refused("what is stored is as good as the clean vectors: asking for it tells no more"))
        how = "asks the embedder and the defence alike, and searches for a text that would be stored so"
        return Made(name, Attempt(seen.stored, found.precision, how), found.cosine, inverter=found.inverter)

    def _retrained(self, defence: Defence, seen: Seen, made: list[Made]) -> Made:
        """The attacker who trains on what the nearest of the others leaves unsaid."""
        plan, name = self.plan, "retrained"
        ran = [one for one in made if isinstance(one.attempt, Attempt)]
        if not ran:
            return Made(name, Refused("no other attack has vectors to train on", applies=True))
        nearest = max(ran, key=lambda one: one.cosine or 0.0)
        if nearest.same == CLEAN:
            return Made(name, Refused(f"nothing is left to learn: {nearest.attacker} has the clean vectors"))
        if plan.retrain is None or plan.base is None:
            return Made(name, Refused("needs --retrain MINUTES and a GPU", applies=True))
        errors = errors_left(seen, self._attacks()[nearest.attacker])
        if isinstance(errors, Refused):
            return Made(name, errors)
        folder = self.folder / f"retrained-{digest(defence.name, plan.retrain)}"
        if self.on_progress is not None:
            self.on_progress(f"training against {defence.name}", 0, 1)
        network = retrained(
            folder, plan.base, self.inverter, errors, self.material.others, minutes=plan.retrain, seed=plan.seed
        )
        assert isinstance(nearest.attempt, Attempt)
        # Told of what is left of noise even where the one that it goes on from wasn't, since it trains to be.
        sigma = float(errors.norm(dim=1).mean()) / self.inverter.dimension**0.5
        how = f"{plan.retrain:g} minutes of training on what {nearest.attacker} leaves, and told of it"
        attempt = replace(nearest.attempt, how=how, precision=f"noise:{sigma:.6f}")
        return Made(f"{name}, {plan.retrain:g} min", attempt, nearest.cosine, inverter=network)

    def _use(self, defence: Defence | None, others: Tensor) -> dict[str, Any]:
        """What the vectors are still good for; of those without a defence if there is none."""
        use, material, seed = self.use, self.material, self.plan.seed
        found: dict[str, Any] = {"ndcg": None, "rho": None, "neighbours": None, "milliseconds": None, "compared": 0}
        store, asked = others, material.clean
        if use.retrieval is not None and use.documents is not None and use.queries is not None:
            store, asked = use.documents, use.queries
            if defence is not None:
                store, asked = defence.apply(store, seed + DOCUMENTS), defence.query(asked)
            found["ndcg"] = ndcg(use.retrieval, store, asked)
        elif defence is not None:
            asked = defence.query(asked)
        if use.pairs is not None and use.first is not None and use.second is not None:
            first, second = use.first, use.second
            if defence is not None:
                first, second = defence.apply(first, seed + FIRST), defence.apply(second, seed + SECOND)
            found["rho"] = correlation(first, second, use.pairs.scores)
        if len(others):
            found["neighbours"] = (
                1.0 if defence is None else neighbours_kept(defence, material.public, others, material.clean)
            )
        if len(store):
            found["milliseconds"], found["compared"] = milliseconds(store, asked), len(store)
        return found


def _cosine(stored: Tensor, clean: Tensor) -> float | None:
    """The mean cosine of what is stored and of clean vectors; None where their widths differ."""
    return float((unit(stored) * unit(clean)).sum(1).mean()) if stored.shape == clean.shape else None


def _mapped(seen: Seen, clean: Tensor) -> float | None:
    """The same after the best linear map back, fitted to all pairs of other texts; None without any."""
    if len(seen.public) < 2:
        return None
    return _cosine(linear_back(seen.public_stored, seen.public)(seen.stored), clean)
