"""Where the findings of an audit belong in the field's catalogues. They name; they conclude nothing in law."""

from dataclasses import dataclass

__all__ = ["MAPPINGS", "Mapping"]


@dataclass(frozen=True)
class Mapping:
    """An entry of a catalogue, and what of an audit it fits."""

    catalogue: str
    id: str
    name: str
    why: str


MAPPINGS: tuple[Mapping, ...] = (
    Mapping(
        "OWASP Top 10 for LLM applications (2026)",
        "LLM09:2026",
        "Vector and Embedding Weaknesses",
        "Texts were recovered from stored embeddings: the catalogue's embedding inversion.",
    ),
    Mapping(
        "MITRE ATLAS",
        "AML.T0024",
        "Exfiltration via AI Inference API",
        "The recovery asks the embedding model questions; its sub-technique .001 is inverting a model.",
    ),
    Mapping(
        "MITRE ATLAS",
        "AML.T0036",
        "Data from Information Repositories",
        "The vectors come from a store that is read, not from the model: where it lies on disk this fits better.",
    ),
    Mapping(
        "CWE",
        "CWE-200",
        "Exposure of Sensitive Information to an Unauthorized Actor",
        "Whoever can read the vectors can read what this report counts.",
    ),
    Mapping(
        "NIST AI 100-2 (2025)",
        "NISTAML.032",
        "Data reconstruction",
        "A privacy attack that rebuilds inputs from what a model gives out.",
    ),
)
