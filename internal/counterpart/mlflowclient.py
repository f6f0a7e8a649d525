# Calls the functions above for a test: one JSON object a line in, one out.
import json
import os
import sys
import traceback

_answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what MLflow prints is no answer
for _line in sys.stdin:
    _call = json.loads(_line)
    os.environ.update(_call["env"] or {})
    try:
        _answer = {"Returned": globals()[_call["do"]](**(_call["with"] or {}))}
    except Exception:
        _answer = {"Raised": traceback.format_exc()}
    print(json.dumps(_answer), file=_answers, flush=True)
