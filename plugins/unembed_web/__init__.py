"""A local page to watch inversions on, and to look through audits: `unembed web`.

Starlette and uvicorn carry it, with plain JavaScript that needs no build. They are two small packages without compiled
parts, import in a quarter of a second, and answer over a real socket in the tests. Gradio would bring fifty packages
and a page that isn't ours: its start takes seconds, it loads fonts from elsewhere, and what it draws can't be tested
without it.
"""
