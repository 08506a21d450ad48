"""Child processes that do hostile or heavy work: started, limited, caged, watched, ended.

    child_process.py, child_process_main.py  one child: the parent's side, and its own
    cpu_limit.py  a limit of CPU time, so that load decides nothing
    cage/         what a child may still do once a document rules it
    cores.py      how many cores there are to use           background.py  tasks that may not fail unseen

Knows nothing of pages: the work is a class that is named by whoever starts the child.
"""
