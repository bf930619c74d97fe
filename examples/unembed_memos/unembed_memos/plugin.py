"""What the plugin offers."""

import unembed


@unembed.hookimpl
def register_embedders() -> "list[unembed.EmbedderSpec]":
    build = unembed.lazy("unembed_memos.embedder:by_name")
    return [unembed.EmbedderSpec("echo", "a random recurrent network over the words of a memo", build)]


@unembed.hookimpl
def register_modalities() -> "list[unembed.Modality]":
    return [unembed.Modality("memo", "short memos over a small vocabulary")]


@unembed.hookimpl
def register_methods() -> "list[unembed.Method]":
    open_checkpoint = unembed.lazy("unembed_memos.recipe:open_checkpoint")
    recipe = unembed.lazy("unembed_memos.recipe:MemoRecipe")
    return [unembed.Method("memo", "memo", "one small network for both roles", open_checkpoint, recipe)]
