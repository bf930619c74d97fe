"""What other plugins that write text with a T5 build on. These names stay; the modules behind them may move."""

from unembed_text.codecs.wordpiece import TextCodec, check_texts, filled
from unembed_text.decoder.beams import decode, padded
from unembed_text.decoder.convert import store_weights
from unembed_text.decoder.decoder import Decoder, Special
from unembed_text.decoder.layers import autocast_like
from unembed_text.decoder.network import Projection, T5Network
from unembed_text.decoder.sampling import corrupt, sample
from unembed_text.embedders.names import split_options
from unembed_text.methods.closed.edits import edits
from unembed_text.methods.closed.scoring import LogProbability
from unembed_text.methods.shapes import T5Shape
from unembed_text.metrics import text_metrics
from unembed_text.sources.foreign_tokenizers import first_line, read_tokenizer, without_bars
from unembed_text.sources.foreign_weights import reach_hub
from unembed_text.sources.t5 import first_layers, read_t5

__all__ = [
    "Decoder",
    "LogProbability",
    "Projection",
    "Special",
    "T5Network",
    "T5Shape",
    "TextCodec",
    "autocast_like",
    "check_texts",
    "corrupt",
    "decode",
    "edits",
    "filled",
    "first_layers",
    "first_line",
    "padded",
    "reach_hub",
    "read_t5",
    "read_tokenizer",
    "sample",
    "split_options",
    "store_weights",
    "text_metrics",
    "without_bars",
]
