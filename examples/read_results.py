"""The texts of a run for training, as JSON lines: `python examples/read_results.py OUTPUT > texts.jsonl`.

Only what the sources still hold, and only documents that were read whole.
"""

import json
import sys

import quire


def main(output: str) -> None:
    columns = ("source_uri", "text", "status", "num_failed", "languages")
    for document in quire.open_run(output).live_documents.select(*columns):
        if document["status"] == "ok" and not document["num_failed"]:
            languages = [entry["language"] for entry in document["languages"]]
            print(json.dumps({"id": document["doc_id"], "text": document["text"], "languages": languages}))


if __name__ == "__main__":
    main(*sys.argv[1:])
