"""Checkpoints: safetensors in small shards beside a JSON manifest, no pickle, strict both ways."""
