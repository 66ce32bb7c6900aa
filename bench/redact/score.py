"""Recall and precision per kind, from labelled sentences and one or more files of findings (a line of JSON spans for each sentence).

    python3 bench/redact/score.py sentences.jsonl ours.jsonl presidio.jsonl presidio.jsonl@0.4

`@0.4` leaves out findings with a lower score. A label is found (recall) if a finding of its kind covers it wholly and is at most twice
as long. A finding is right (precision) if it overlaps a label of its kind and is at most twice as long: a tool that reports a part of
something beside the whole is not blamed for it.
"""

import collections
import json
import sys


def read(name):
    path, _, least = name.partition("@")
    for line in open(path, encoding="utf-8"):
        yield [tuple(span[:3]) for span in json.loads(line) if len(span) < 4 or span[3] >= float(least or 0)]


def overlaps(found, label):
    meets = found[0] == label[0] and found[1] < label[2] and found[2] > label[1]
    return meets and found[2] - found[1] <= 2 * (label[2] - label[1])


def covers(found, label):
    return overlaps(found, label) and found[1] <= label[1] and found[2] >= label[2]


def score(sentences, findings, misses=None):
    counts = collections.defaultdict(lambda: [0, 0, 0, 0])  # labels, labels found, findings, right findings
    for sentence, found in zip(sentences, findings, strict=True):
        found = sorted(set(found))
        for label in sentence["spans"]:
            hit = any(covers(f, label) for f in found)
            counts[label[0]][0] += 1
            counts[label[0]][1] += hit
            if misses is not None and not hit:
                misses.append(("missed", label[0], sentence["text"]))
        for f in found:
            good = any(overlaps(f, label) for label in sentence["spans"])
            counts[f[0]][2] += 1
            counts[f[0]][3] += good
            if misses is not None and not good:
                misses.append(("wrong", f[0], sentence["text"], sentence["text"][f[1]:f[2]]))
    return counts


def share(part, whole):
    return f"{100 * part / whole:.1f}" if whole else "–"


def main():
    names = [name for name in sys.argv[2:] if name != "--misses"]
    sentences = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
    misses = [] if "--misses" in sys.argv else None
    tables = [score(sentences, read(name), misses if index == 0 else None) for index, name in enumerate(names)]
    kinds = [kind for kind in dict.fromkeys(label[0] for s in sentences for label in s["spans"])]
    print("| kind | labels |" + "".join(f" {name}: recall | precision |" for name in names))
    print("|---|--:|" + "--:|--:|" * len(names))
    for kind in sorted(kinds):
        row = [t[kind] for t in tables]
        print(f"| {kind} | {row[0][0]} |" + "".join(f" {share(r[1], r[0])} | {share(r[3], r[2])} |" for r in row))
    clean = [i for i, s in enumerate(sentences) if not s["spans"]]
    for name in names:
        touched = sum(bool(f) for i, f in enumerate(read(name)) if not sentences[i]["spans"])
        print(f"\n{name}: {touched} of {len(clean)} sentences without personal data have a finding ({share(touched, len(clean))} %).")
    for miss in misses or []:
        print(*miss, sep=" | ")


if __name__ == "__main__":
    main()
