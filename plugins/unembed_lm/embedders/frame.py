"""What stands around a prompt: the chat template of its model."""

from dataclasses import dataclass
from typing import Any, Literal

from unembed.errors import InputError

__all__ = ["Frame", "Template", "read_frame"]

Template = Literal["chat", "plain"]
MARK = "\u2060PROMPT\u2060"


@dataclass(frozen=True)
class Frame:
    """The token ids before and after those of a prompt."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def read_frame(tokenizer: Any, name: str, template: Template) -> Frame:
    """The user's turn of the tokenizer's chat template, up to where the answer begins; raises InputError.

    With "plain" there is nothing but the token that begins every text, if the tokenizer has one: for base models.
    """
    if template == "plain":
        begin = tokenizer.bos_token_id
        return Frame(() if begin is None else (begin,), ())
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(f"{name}: its tokenizer has no chat template; for a base model add template=plain")
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": MARK}], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a stranger's template may raise anything
        raise InputError(f"{name}: its chat template can't be filled in: {str(error).splitlines()[0]}") from error
    if text.count(MARK) != 1:
        raise InputError(
            f"{name}: its chat template shows a prompt {text.count(MARK)} times; one turn should show it once"
        )
    before, after = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in text.split(MARK))
    return Frame(tuple(before), tuple(after))
