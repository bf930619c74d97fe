# %% [markdown]
# # Similarity by step
#
# A search embeds its guesses and corrects the best of them, step by step. `trace=True` keeps what it had after each
# step: here for eight sentences of 5 to 26 tokens. Open this file as a notebook (VS Code, Jupytext, Spyder), or run it
# as it is: `python examples/similarity_by_step.py [PICTURE]`. It needs matplotlib.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt

import unembed

PICTURE = Path(sys.argv[1] if len(sys.argv) > 1 else "similarity-by-step.png")
TEXTS = [
    "the meeting is on friday",
    "the patient was given 20 mg",
    "please call dr. alvarez about the test results on monday",
    "the committee rejected the proposal because the budget was too small",
    "our flight was cancelled because of the snow, so we took the night train to vienna",
    "emily, aged 9, had a mild reaction to peanuts at school lunch and was sent home at one o'clock",
    "mr. okafor of halewood logistics owes 4,250 dollars since march, "
    "otherwise the matter goes to our lawyers in ghent",
    "the board will decide next week whether the factory in ghent is sold or closed before the winter",
]

# %% [markdown]
# ## Invert them

# %%
inverter = unembed.load("minilm")
vectors = inverter.embed(TEXTS)
result = inverter.invert(vectors, effort="medium", trace=True)
print(result)

# %% [markdown]
# ## Read the trace
#
# `step.similarity` and `step.queries` are of all vectors; a vector whose search has ended keeps its last values.

# %%
lengths = inverter.codec.lengths(TEXTS)
similarity = [[float(step.similarity[row]) for step in result.trace] for row in range(len(TEXTS))]
for row, curve in enumerate(similarity):
    print(f"{lengths[row]:>3} tokens: {' '.join(f'{value:.3f}' for value in curve[: int(result.steps[row]) + 1])}")

# %% [markdown]
# ## Plot it

# %%
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
shade = plt.get_cmap("viridis")
shortest, longest = min(lengths), max(lengths)
for row in sorted(range(len(TEXTS)), key=lambda row: -lengths[row]):
    steps, colour = int(result.steps[row]), shade((lengths[row] - shortest) / (longest - shortest))
    axes.plot(range(steps + 1), similarity[row][: steps + 1], color=colour, linewidth=1.6, zorder=2)
    solved = result.stopped[row] == "solved"
    axes.plot(steps, similarity[row][steps], marker="o" if solved else "x", color=colour, zorder=3)
bar = figure.colorbar(plt.cm.ScalarMappable(plt.Normalize(shortest, longest), shade), ax=axes)
bar.set_label("tokens of the text")
axes.set_xlabel("step (0: the first guess)")
axes.set_ylabel("similarity of the best text so far")
axes.set_title("How near a search comes, step by step (● solved, × gave up)")
axes.grid(alpha=0.3)
axes.xaxis.get_major_locator().set_params(integer=True)
figure.savefig(PICTURE, dpi=120)
print(f"wrote {PICTURE}")
