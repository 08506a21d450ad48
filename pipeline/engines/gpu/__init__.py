"""The engine that reads on a GPU: vLLM in a process of its own, with our class of the model (`deepseek_vllm`).

    engine.py       the engine: pages in, completions out     process.py      vLLM's process: started, watched, ended
    arguments.py    settings → vLLM's own arguments           checkpoints.py  which weights, at which revision
    prompts.py      a page → what vLLM is asked               window.py       how many pages at once
    encoding.py     the encoder outside of vLLM               latents.py      its output, kept on storage
    loops.py        completions that repeat themselves        device.py       is there a GPU?

In: a page's image and a request. Out: a completion. Nothing here imports vLLM or torch before an engine is started.
"""
