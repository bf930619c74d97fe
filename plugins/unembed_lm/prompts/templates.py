"""Prompts from templates: the requests that people make most, filled in."""

import random
from collections.abc import Iterator

__all__ = ["filled_templates"]

FORMS = [
    "haiku", "poem", "limerick", "short story", "blog post", "tweet", "slogan", "song", "letter", "e-mail", "essay",
    "joke", "riddle", "product description", "summary", "press release", "dialogue", "speech", "headline", "recipe",
]  # fmt: skip
TOPICS = [
    "rain", "the sea", "a lost dog", "climate change", "artificial intelligence", "a new phone", "friendship", "space",
    "healthy food", "learning to code", "remote work", "a haunted house", "the moon", "old books", "electric cars",
    "a small village", "time travel", "my grandmother", "winter", "coffee", "public transport", "a job interview",
    "the stock market", "a birthday party", "gardening", "video games", "football", "the Roman Empire", "bees", "music",
]  # fmt: skip
STYLES = ["", "", "", "short ", "funny ", "sad ", "formal ", "simple ", "detailed ", "persuasive "]
LANGUAGES = ["Python", "JavaScript", "Java", "C++", "SQL", "Rust", "Go", "HTML", "a shell script", "C#"]
TASKS = [
    "sort a list of numbers", "reverse a string", "find the largest element of an array", "read a CSV file",
    "count the words of a text", "check whether a number is prime", "merge two dictionaries", "remove duplicates",
    "compute the factorial of a number", "send an HTTP request", "parse a date", "draw a bar chart",
]  # fmt: skip
TONGUES = ["French", "Spanish", "German", "Italian", "Portuguese", "Japanese", "Latin", "Dutch"]
SENTENCES = [
    "The weather is nice today.", "Where is the station?", "I would like a cup of tea.", "She has two brothers.",
    "He don't like apples.", "The meeting is at noon.", "We was late again.", "Their going to the park.",
]  # fmt: skip
TEMPLATES = [
    "Write a {style}{form} about {topic}.",
    "Write a {style}{form} about {topic}",
    "Give me {n} ideas for a {form} about {topic}.",
    "What is {topic}?",
    "Explain {topic} to a child.",
    "Tell me about {topic}",
    "List {n} facts about {topic}.",
    "How do I {task} in {language}?",
    "Write a function in {language} to {task}.",
    "{task} using {language}",
    "Translate into {tongue}: {sentence}",
    'Translate the following sentence to {tongue}: "{sentence}"',
    "Correct the grammar: {sentence}",
    "Rewrite this sentence in a {style}tone: {sentence}",
    "What are the advantages and disadvantages of {topic}?",
    "Why is {topic} important?",
    "Summarize the history of {topic} in {n} sentences.",
    "Compare {topic} and {other}.",
    "You are a {style}assistant. Talk with me about {topic}.",
    "Suggest a title for a {form} about {topic}.",
]


def filled_templates(seed: int) -> Iterator[str]:
    """Prompts without end, some of them more than once; the same for a seed."""
    draw = random.Random(seed)
    while True:
        text = draw.choice(TEMPLATES).format(
            style=draw.choice(STYLES),
            form=draw.choice(FORMS),
            topic=draw.choice(TOPICS),
            other=draw.choice(TOPICS),
            n=draw.choice(["3", "5", "10", "three", "five"]),
            task=draw.choice(TASKS),
            language=draw.choice(LANGUAGES),
            tongue=draw.choice(TONGUES),
            sentence=draw.choice(SENTENCES),
        )
        yield text[:1].upper() + text[1:]
