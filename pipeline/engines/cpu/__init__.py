"""Engines that read on CPU cores: PP-OCR through RapidOCR, and Tesseract. Each runs in caged processes of its own.

    rapidocr_engine.py, rapidocr_worker.py          pages to processes, and what runs in one
    tesseract_engine.py, tesseract_languages.py     the program, and what it can read
    ink.py pieces.py straighten.py strips.py        pixels of lines of text: found, turned, cut

In: a page's image. Out: lines of text, which `page_layout` puts in order. Does not know documents.
"""
