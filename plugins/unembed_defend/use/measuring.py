"""Figures of use, each on the very vectors that the attackers get."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from unembed.contract.defence import Defence
from unembed_defend.attackers.seen import unit
from unembed_defend.use.reading import Retrieval

__all__ = ["CUT", "correlation", "milliseconds", "ndcg", "neighbours_kept"]

CUT = 10  # results that a searcher looks at
DEEP = 100  # results handed to the scorer
TIMED = 30  # queries, one at a time


def ndcg(retrieval: Retrieval, documents: Tensor, queries: Tensor) -> float:
    """nDCG@10 by cosine, as trec_eval counts it (`pytrec_eval`; Järvelin and Kekäläinen 2002).

    `documents` `[M, E]` are as stored and `queries` `[Q, E]` as a search compares them, in the order of `retrieval`. A
    document with a query's own id is left out, as BEIR does.
    """
    import pytrec_eval

    names, run = list(retrieval.documents), {}
    scores = unit(queries) @ unit(documents).T
    best = scores.topk(min(DEEP + 1, len(names)), dim=1)
    for name, places, values in zip(retrieval.queries, best.indices.tolist(), best.values.tolist(), strict=True):
        found = {names[place]: value for place, value in zip(places, values, strict=True)}
        found.pop(name, None)
        run[name] = found
    measure = f"ndcg_cut_{CUT}"
    each = pytrec_eval.RelevanceEvaluator(retrieval.judged, {f"ndcg_cut.{CUT}"}).evaluate(run)
    return float(sum(row[measure] for row in each.values())) / len(each)


def correlation(first: Tensor, second: Tensor, scores: Sequence[float]) -> float | None:
    """Spearman's ρ of the cosines of rows and what people said; None where one of them never changes."""
    from scipy.stats import spearmanr

    cosines = (unit(first) * unit(second)).sum(1)
    if len(set(cosines.tolist())) == 1 or len(set(scores)) == 1:
        return None
    return float(spearmanr(cosines.double().cpu().numpy(), list(scores)).statistic)


def neighbours_kept(defence: Defence, clean: Tensor, stored: Tensor, queries: Tensor) -> float | None:
    """The share of the ten nearest of `clean` `[M, D]` to each of `queries` `[Q, D]` that are so among `stored` too."""
    if len(clean) <= CUT:
        return None
    true = (unit(queries) @ unit(clean).T).topk(CUT, dim=1).indices
    found = (unit(defence.query(queries)) @ unit(stored).T).topk(CUT, dim=1).indices
    return float((true[:, :, None] == found[:, None, :]).any(2).double().mean())


def milliseconds(stored: Tensor, queries: Tensor) -> float:
    """Median time to find the ten nearest of `stored` `[M, E]` to one query by comparing all, float32 on the CPU."""
    store, asked = unit(stored).cpu(), unit(queries).cpu()
    spent = []
    for query in asked[torch.arange(TIMED) % len(asked)]:
        began = time.perf_counter()
        (store @ query).topk(min(CUT, len(store)))
        spent.append(time.perf_counter() - began)
    middle = sorted(spent)[len(spent) // 2]
    return round(1000 * middle, 4) if math.isfinite(middle) else math.nan
