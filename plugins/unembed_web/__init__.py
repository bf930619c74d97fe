"""A local page to watch inversions on, and to look through audits: `unembed web`.

Starlette and uvicorn carry it, with plain JavaScript that needs no build: two small packages without compiled parts,
whose server runs in a thread of the tests and is asked over a real socket. Gradio brings FastAPI, pandas, Pillow and
many more, and a page of its own that is built elsewhere: it couldn't be kept to a policy without inline scripts and
outside fonts, nor to what the tests here see in a browser.
"""
