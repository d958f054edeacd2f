"""Python's `re` on the rules and turns that the Rust benchmark exports: what a reward function does today.

Compiled patterns in a loop, finditer, spans as code points, numbers captured and compared. Two things are given to it:
the turns are folded already, and its spans need no way back. Reads one JSON object from the file named on the command
line, prints one JSON object.
"""

import json
import re
import sys
import time


def main(path):
    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    rules = [re.compile(pattern) for pattern in work["patterns"]]
    least = work["least"]
    turns = work["turns"]
    started = time.process_time()
    hits = spans = checksum = 0
    for text in turns:
        for index, rule in enumerate(rules):
            hit = False
            for match in rule.finditer(text):
                bound = least[index]
                if bound is not None and float(match["value"].replace(",", "")) <= bound:
                    continue
                hit = True
                spans += 1
                checksum += match.start() + match.end()
            hits += hit
    seconds = time.process_time() - started
    print(json.dumps({"engine": "python re", "turns_per_s": len(turns) / seconds, "hits": hits, "spans": spans, "checksum": checksum}))


main(sys.argv[1])
