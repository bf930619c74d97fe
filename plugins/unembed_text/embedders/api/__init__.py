"""Embedding services over HTTP, which fail, throttle and charge."""
