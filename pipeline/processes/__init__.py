"""Child processes for hostile or heavy work: how they are started, limited, caged, watched and ended.

    child_process.py, child_process_main.py  one child: the parent's side, and its own
    cpu_limit.py  a limit of CPU time, so that other load on the machine makes no difference
    cage/         what a child may still do after a document has taken it over
    cores.py      how many cores there are to use           background.py  tasks whose failure is noticed

Does not know pages: the caller that starts a child names the class that does the work.
"""
