# SPDX-License-Identifier: MIT
"""`moviegen votes` from outside: its numbers beside ones that are computed here, and files that are not as they should be.

    check_votes.py PROGRAM        prints TAP

Comparisons are of folders of films that are copied as they are, so that no model is needed.
"""
import csv
import io
import json
import math
import os
import random
import shutil
import sys

sys.dont_write_bytecode = True  # beside the sources
import check_cli
from check_cli import Skip, TINY_RECIPE, expect

MASK = (1 << 64) - 1
VIDEO = ["text-alignment", "subject-match", "motion-match", "visual-quality", "frame-consistency", "motion-completeness",
         "motion-naturalness", "realness", "aesthetics"]


# ---- a comparison and its votes ----

def compare(w, name, items, *options, table=None):
    """A comparison of two folders with a film an item. Its folder, and who is on the left of each item."""
    for side in "ab":
        os.makedirs(w.path(f"{name}-{side}"), exist_ok=True)
        for i in range(items):
            with open(w.path(f"{name}-{side}/film{i + 1}.mp4"), "wb") as f:
                f.write(f"{side}{i}".encode())
    prompts = w.path(name + (".csv" if table else ".txt"))
    with open(prompts, "w", encoding="utf-8", newline="") as f:
        f.write(table or "".join(f"prompt {i}\n" for i in range(items)))
    expect(w.run("compare", w.path(name + "-a"), w.path(name + "-b"), "--prompts", prompts, "--out", w.path(name), "-q",
                 *options), 0)
    with open(w.path(name + "/key.csv"), encoding="utf-8", newline="") as f:
        left = {row["item"]: row["left"] for row in csv.DictReader(f)}
    return w.path(name), left


def cast(left, item, winner):
    """What a rater writes who prefers a or b, or none."""
    return "tie" if winner == "tie" else "left" if winner == left[item] else "right"


def write(path, rows, header=("rater", "item", "axis", "vote")):
    with open(path, "w", encoding="utf-8", newline="") as f:
        csv.writer(f).writerows([header, *rows])
    return path


def votes_of(w, folder, *files, status=0, texts=()):
    run = w.run("votes", folder, *files, "--json")
    expect(run, status, *texts)
    return json.loads(run.stdout) if status == 0 else None


def ballot(w, name, items, axis, answers, *options, table=None):
    """Of answers[item][rater] in a, tie, b: the folder and the file of votes."""
    folder, left = compare(w, name, items, "--axes", axis, *options, table=table)
    rows = [(f"rater{r}", item, axis, cast(left, item, answer)) for item, own in zip(sorted(left), answers)
            for r, answer in enumerate(own)]
    return folder, write(w.path(name + "-votes.csv"), rows)


# ---- the same numbers, computed here ----

def splitmix(seed):
    state = seed
    while True:
        state = (state + 0x9e3779b97f4a7c15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xbf58476d1ce4e5b9) & MASK
        z = ((z ^ (z >> 27)) * 0x94d049bb133111eb) & MASK
        yield z ^ (z >> 31)


def majority(own):
    counts = {k: own.count(k) for k in ("a", "tie", "b")}
    best = [k for k, n in counts.items() if n == max(counts.values())]
    return best[0] if len(best) == 1 else "tie"


def quantile(ordered, share):
    at = share * (len(ordered) - 1)
    low = int(at)
    return ordered[low] + (at - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def statistics(answers, mean, seed=1, resamples=1000):
    shares = []
    for own in answers:
        if mean:
            shares.append({k: own.count(k) / len(own) for k in ("a", "tie", "b")})
        else:
            shares.append({k: float(majority(own) == k) for k in ("a", "tie", "b")})
    n = len(shares)
    values = [s["a"] - s["b"] for s in shares]
    draws = splitmix(seed)
    nets = sorted(100 * math.fsum(values[next(draws) * n >> 64] for _ in range(n)) / n for _ in range(resamples))
    centre = math.fsum(nets) / resamples
    result = {"win": 100 * sum(s["a"] for s in shares) / n, "tie": 100 * sum(s["tie"] for s in shares) / n,
              "loss": 100 * sum(s["b"] for s in shares) / n, "net": 100 * sum(values) / n,
              "low": quantile(nets, 0.025), "high": quantile(nets, 0.975),
              "sigma": math.sqrt(math.fsum((x - centre) ** 2 for x in nets) / resamples)}
    rated = [own for own in answers if len(own) > 1]
    agreement = [sum(own.count(k) * (own.count(k) - 1) for k in ("a", "tie", "b")) / (len(own) * (len(own) - 1)) for own in rated]
    all_votes = [v for own in rated for v in own]
    chance = sum((all_votes.count(k) / len(all_votes)) ** 2 for k in ("a", "tie", "b"))
    result["agreement"] = sum(agreement) / len(agreement)
    result["kappa"] = (result["agreement"] - chance) / (1 - chance)
    return result


def near(found, wanted, what=""):
    for name, value in wanted.items():
        assert found[name] is not None and abs(found[name] - value) < 1e-6, f"{what} {name} is {found[name]}, not {value}"


# ---- numbers ----

def test_by_hand(w):
    """Four items: A three times; A twice; one of each; B three times."""
    answers = [["a", "a", "a"], ["a", "tie", "a"], ["b", "tie", "a"], ["b", "b", "b"]]
    folder, path = ballot(w, "hand", 4, "realness", answers)
    line = votes_of(w, folder, path)
    assert (line["items"], line["raters"], line["votes"], line["method"]) == (4, 3, 12, "majority"), line
    assert line["left"] + line["tie"] + line["right"] == 12 and line["tie"] == 2, line
    [axis] = line["axes"]
    assert (axis["axis"], axis["items"], axis["votes"], axis["verdict"]) == ("realness", 4, 12, "too few"), axis
    near(axis, {"win": 50, "tie": 25, "loss": 25, "net": 25, "agreement": 7 / 12, "kappa": 7 / 22}, "majority")
    run = w.run("votes", folder, path, "--json", "--mean")
    expect(run, 0)
    [axis] = json.loads(run.stdout)["axes"]
    near(axis, {"win": 50, "tie": 50 / 3, "loss": 100 / 3, "net": 50 / 3, "agreement": 7 / 12, "kappa": 7 / 22}, "mean")


def test_majority_rule(w):
    """The answer given most often; a tie where two or three share that."""
    cases = [(["a"], "a"), (["b"], "b"), (["a", "b"], "tie"), (["a", "tie"], "tie"), (["b", "tie"], "tie"), (["a", "tie", "b"], "tie"),
             (["a", "a", "tie", "b"], "a"), (["a", "a", "b", "b"], "tie"), (["b", "b", "tie", "tie"], "tie"),
             (["a", "a", "a", "b", "b", "tie"], "a"), (["a", "a", "a", "b", "b", "b"], "tie"),
             (["a", "a", "tie", "tie", "b", "b"], "tie"), (["b", "b", "b", "tie", "tie", "a"], "b"),
             (["a", "tie", "tie", "tie", "b"], "tie")]
    folder, path = ballot(w, "rule", len(cases), "realness", [own for own, _ in cases])
    [axis] = votes_of(w, folder, path)["axes"]
    near(axis, {k: 100 * sum(v == name for _, v in cases) / len(cases) for k, name in (("win", "a"), ("tie", "tie"), ("loss", "b"))})
    for i, (own, wanted) in enumerate(cases):  # and each by itself
        folder, path = ballot(w, f"rule{i}", 1, "realness", [own])
        [axis] = votes_of(w, folder, path)["axes"]
        assert axis[{"a": "win", "tie": "tie", "b": "loss"}[wanted]] == 100, (own, axis)
        assert majority(own) == wanted


def random_answers(items, seed, weights, raters=(1, 6)):
    lot = random.Random(seed)
    return [lot.choices(["a", "tie", "b"], weights, k=lot.randint(*raters)) for _ in range(items)]


def test_against_python(w):
    """Interval, sigma and agreement of votes by lot."""
    for number, (items, weights) in enumerate([(11, (3, 1, 1)), (60, (2, 2, 2)), (37, (1, 1, 5)), (200, (4, 3, 3))]):
        answers = random_answers(items, number, weights)
        folder, path = ballot(w, f"lot{number}", items, "realness", answers)
        for mean in (False, True):
            for seed, resamples in ((1, 1000), (7, 200)):
                run = w.run("votes", folder, path, "--json", "--seed", str(seed), "--resamples", str(resamples),
                            *(["--mean"] if mean else []))
                expect(run, 0)
                [axis] = json.loads(run.stdout)["axes"]
                wanted = statistics(answers, mean, seed, resamples)
                near(axis, wanted, f"{items} items, mean {mean}, seed {seed}:")
                ratio = abs(wanted["net"]) / wanted["sigma"]
                assert axis["verdict"] == ("significant" if ratio > 2 else "moderate" if ratio > 1 else "on par"), (ratio, axis)
        assert w.run("votes", folder, path).stdout == w.run("votes", folder, path).stdout


def test_verdicts(w):
    """Each of them, and who is better."""
    lines = {}
    for name, (a, tie, b) in {"all": (20, 0, 0), "none": (0, 20, 0), "b": (0, 0, 20), "few": (9, 0, 0), "some": (8, 10, 3),
                              "less": (10, 20, 9)}.items():
        answers = [["a"]] * a + [["tie"]] * tie + [["b"]] * b
        folder, path = ballot(w, name, len(answers), "realness", answers)
        run = w.run("votes", folder, path)
        expect(run, 0)
        lines[name] = run.stdout.decode().split("\n")[6]
    for name, end in (("all", "A significantly better"), ("none", "on par"), ("b", "B significantly better"), ("few", "too few pairs"),
                      ("some", "A moderately better"), ("less", "  on par")):
        assert lines[name].startswith("realness ") and lines[name].endswith(end), (name, lines[name])


def test_axes_differ(w):
    """Each axis has its own items; one without votes is left out."""
    folder, left = compare(w, "axes", 3)
    rows = [("ann", "pair-001", "realness", cast(left, "pair-001", "a")), ("ann", "pair-002", "realness", cast(left, "pair-002", "b")),
            ("bob", "pair-001", "realness", cast(left, "pair-001", "a")), ("ann", "pair-003", "aesthetics", "tie")]
    line = votes_of(w, folder, write(w.path("one.csv"), rows[:2]), write(w.path("two.csv"), rows[2:]))
    assert [(a["axis"], a["items"], a["votes"], a["net"]) for a in line["axes"]] == [("realness", 2, 3, 0), ("aesthetics", 1, 1, 0)], line
    assert line["raters"] == 2 and line["short"] == 27, line
    assert line["axes"][1]["kappa"] is None and line["axes"][0]["agreement"] == 1, line
    run = w.run("votes", folder, w.path("one.csv"), w.path("two.csv"))
    expect(run, 0)
    text = run.stdout.decode()
    assert f"A: {w.path('axes-a')}\nB: {w.path('axes-b')}\n" in text and "raters: 2, votes: 4" in text, text
    assert "27 of 27 questions have fewer votes" in text, text


def test_tags(w):
    """Of several columns, of which one has several tags an item."""
    table = ('motion_level,prompt,concept\nlow,"one, two","scene, camera motion"\nhigh,"say ""no""",scene\n'
             'high,three,"animal,camera motion"\nlow,four,\n')
    folder, path = ballot(w, "tags", 4, "realness", [["a"], ["b"], ["a"], ["tie"]], table=table)
    line = votes_of(w, folder, path)
    found = {(t["column"], t["tag"]): (t["items"], t["axes"][0]["win"], t["axes"][0]["loss"]) for t in line["tags"]}
    assert found == {("concept", "scene"): (2, 50, 50), ("concept", "camera motion"): (2, 100, 0), ("concept", "animal"): (1, 100, 0),
                     ("motion_level", "low"): (2, 50, 0), ("motion_level", "high"): (2, 50, 50)}, found
    text = w.run("votes", folder, path).stdout.decode()
    assert "\nconcept: camera motion, 2 pairs\n" in text and "\nmotion_level: high, 2 pairs\n" in text, text
    assert votes_of(w, folder, path, "--no-tags")["tags"] == []


# ---- files ----

def test_usage(w):
    expect(w.run("votes"), 2, "DIR is missing", "usage: moviegen votes DIR CSV")
    expect(w.run("votes", "x"), 2, "CSV is missing")
    expect(w.run("votes", "x", "y", "--resamples", "9"), 2, "--resamples needs a whole number from 10 to 100000")
    expect(w.run("votes", w.path("nowhere"), "x.csv"), 1, "nowhere/settings.csv")
    folder, _ = compare(w, "c", 2)
    expect(w.run("votes", folder, w.path("no.csv")), 1, "no.csv", "No such file")
    expect(w.run("votes", folder, w.folder), 1, "directory")
    run = w.run("votes", "--help")
    expect(run, 0)
    assert b"--mean" in run.stdout and b"two sigma" in run.stdout, run.stdout


def test_bad_rows(w):
    """Each mistake by name and line; what was read before is not lost, but nothing is counted either."""
    folder, _ = compare(w, "c", 2)
    good = ["ann,pair-001,realness,left", "ann,pair-002,realness,tie"]
    cases = [(["ann,pair-003,realness,left"], "line 4", "no item 'pair-003'"),
             (["ann,pair-001,reality,left"], "line 4", "no axis 'reality'", "text-alignment, subject-match", "aesthetics"),
             (["ann,pair-001,aesthetics,Left"], "line 4", "the vote is 'Left'", "left, tie or right"),
             (["ann,pair-001,aesthetics,"], "line 4", "the vote is ''"),
             ([",pair-001,aesthetics,left"], "line 4", "who the rater is"),
             (["ann,pair-001,aesthetics"], "line 4", "has 3 fields, its header 4"),
             (["ann,pair-001,aesthetics,left,x"], "line 4", "has 5 fields"),
             (["bob,pair-001,realness,left", "", "ann,pair-001,realness,right"], "line 6", "'ann' voted on pair-001, axis realness before",
              "line 2"),
             (['"ann,pair-001,realness,left'], "line 4", "quote that opens there is never closed"),
             (['"ann"x,pair-001,aesthetics,left'], "line 4", "behind a closing quote"),
             (["a\0nn,pair-001,aesthetics,left"], "line 4", "NUL")]
    for number, (rows, *texts) in enumerate(cases):
        path = w.path(f"bad{number}.csv")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(["rater,item,axis,vote", *good, *rows]) + "\n")
        votes_of(w, folder, path, status=1, texts=[f"bad{number}.csv", *texts])
    first = write(w.path("first.csv"), [row.split(",") for row in good])
    votes_of(w, folder, first, w.path("first.csv"), status=1, texts=["line 2", "'ann' voted on pair-001", "first.csv' line 2"])


def test_bad_headers(w):
    folder, _ = compare(w, "c", 2)
    for number, (text, *texts) in enumerate([("", "is empty"), ("rater,item,axis\n", "line 1 has no column 'vote'", "rater, item, axis and vote"),
                                             ("\n\nitem,axis,vote\n", "line 3 has no column 'rater'"), ("rater,item,axis,vote\n", "no vote in"),
                                             ("x" * 1100000, "longer than 1048576 bytes"), ("," * 2000, "more than 1024 fields")]):
        path = w.path(f"head{number}.csv")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        votes_of(w, folder, path, status=1, texts=texts)


def test_other_comparison(w):
    """Items are named alike everywhere: a vote says where it belongs."""
    header = ("rater", "item", "axis", "vote", "comparison")
    folder, _ = compare(w, "one", 2)
    other, _ = compare(w, "two", 2)
    numbers = []
    for path in (folder, other):
        with open(path + "/settings.csv", encoding="utf-8", newline="") as f:
            numbers.append({row["setting"]: row["a"] for row in csv.DictReader(f)}["comparison"])
    assert numbers[0] != numbers[1]
    path = write(w.path("votes.csv"), [("ann", "pair-001", "realness", "left", numbers[0])], header)
    assert votes_of(w, folder, path)["votes"] == 1
    votes_of(w, other, path, status=1, texts=["line 2 is a vote of another comparison", numbers[0], numbers[1]])


def test_layouts(w):
    """Columns in any order and more of them; BOM, CR LF, quotes, lines within fields, no newline at the end."""
    folder, _ = compare(w, "c", 2)
    text = ('\ufeff"Vote",note,ITEM,axis,rater\r\nleft,"a ""quoted"", long\r\nnote",pair-001,realness,"O\'Neil, Ann"\r\n\r\n'
            '"tie",,"pair-002",realness,"O\'Neil, Ann"\r\nright,x,pair-001,realness,"O\'Neil, Ann "')
    path = w.path("votes.csv")
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    line = votes_of(w, folder, path)
    assert (line["raters"], line["votes"], line["left"], line["tie"], line["right"]) == (2, 3, 1, 1, 1), line
    with open(path, "a", encoding="utf-8", newline="") as f:
        f.write('\r\nleft,,pair-009,realness,"two\nlines"')
    votes_of(w, folder, path, status=1, texts=["line 7", "no item 'pair-009'"])


def test_many_votes(w):
    """A million: none lost, none counted twice."""
    items, raters = 1000, 200
    folder, left = compare(w, "many", items, "--axes", "realness,aesthetics,fun,text-alignment,visual-quality")
    axes = ["realness", "aesthetics", "fun", "text-alignment", "visual-quality"]
    text = io.StringIO()
    text.write("rater,item,axis,vote\n")
    for r in range(raters):
        for item in left:
            for axis in axes:
                text.write(f"r{r},{item},{axis},{left[item] == 'a' and 'left' or 'right'}\n")
    with open(w.path("many.csv"), "w", encoding="utf-8") as f:
        f.write(text.getvalue())
    line = votes_of(w, folder, w.path("many.csv"))
    assert (line["votes"], line["raters"], line["short"]) == (items * raters * len(axes), raters, 0), line
    assert all(a["win"] == 100 and a["votes"] == items * raters and a["agreement"] == 1 for a in line["axes"]), line
    with open(w.path("many.csv"), "a", encoding="utf-8") as f:
        f.write("r77,pair-0500,fun,tie\n")
    votes_of(w, folder, w.path("many.csv"), status=1, texts=[f"line {items * raters * 5 + 2}", "'r77' voted on pair-0500, axis fun before"])


def test_bad_key(w):
    """Whatever happened to it, it is said."""
    folder, _ = compare(w, "c", 2)
    path = write(w.path("votes.csv"), [("ann", "pair-001", "realness", "left")])
    with open(folder + "/key.csv", encoding="utf-8") as f:
        key = f.read()
    for text, *texts in (("", "key.csv' is empty"), (key.replace("item,", "thing,"), "does not begin with the columns of a key"),
                         (key.replace("a,b", "a,a").replace("b,a", "b,b"), "line 2 is not an item"), (key + "pair-003,a,b\n", "line 4"),
                         (key + key.split("\n")[1] + "\n", "item twice")):
        with open(folder + "/key.csv", "w", encoding="utf-8") as f:
            f.write(text)
        votes_of(w, folder, path, status=1, texts=texts)
    os.remove(folder + "/key.csv")
    votes_of(w, folder, path, status=1, texts=["key.csv", "No such file"])
    with open(folder + "/settings.csv", "w", encoding="utf-8") as f:
        f.write("setting,a,b\nname,x,y\n")
    votes_of(w, folder, path, status=1, texts=["settings.csv' lacks"])


# ---- scores, to learn from ----

def scores_of(folder):
    """Score, caption and what the link leads to, of each film; and what else there is."""
    found, names = {}, set(os.listdir(folder))
    for name in sorted(names):
        stem, ending = os.path.splitext(name)
        if ending == ".txt":
            continue
        with open(f"{folder}/{stem}.txt", encoding="utf-8") as f:
            caption = f.read()
        with open(f"{folder}/{stem}.score.txt", encoding="utf-8") as f:
            found[stem] = (f.read(), caption, os.readlink(f"{folder}/{name}"))
        names -= {name, f"{stem}.txt", f"{stem}.score.txt"}
    assert not names, names
    return found


def film_of(w, folder, left, item, side):
    place = "left" if left[item] == side else "right"
    return os.path.realpath(w.path(f"{folder}/raters/films/{item}-{place}.mp4"))


def test_scores(w):
    """Films of both sides, whichever place they had; what is left out; what is said."""
    folder, left = compare(w, "trial", 5, "--axes", "realness,fun")
    assert len(set(left.values())) == 2, left
    answers = {"pair-001": {"realness": "a", "fun": "aab"}, "pair-002": {"realness": "bt", "fun": "t"},
               "pair-004": {"fun": "ab"}, "pair-005": {"realness": "bbb", "fun": "b"}}
    rows = [(f"rater{r}", item, axis, cast(left, item, {"t": "tie"}.get(answer, answer)))
            for item, axes in answers.items() for axis, own in axes.items() for r, answer in enumerate(own)]
    path = write(w.path("votes.csv"), rows)
    plain = w.run("votes", folder, path)
    expect(plain, 0)
    os.mkdir(w.path("there"))
    os.symlink("there", w.path("link"))
    for out, options, wanted in (("scored", [], {1: ("0.5", "-0.5"), 2: ("-0.333333", "0.333333"), 4: ("0", "0"), 5: ("-1", "1")}),
                                 ("there/", ["--score-axes", "fun,realness"], None),
                                 ("real", ["--score-axes", "realness"], {1: ("1", "-1"), 2: ("-0.5", "0.5"), 5: ("-1", "1")}),
                                 ("link", ["--score-axes", "fun"], {1: ("0.333333", "-0.333333"), 2: ("0", "0"), 4: ("0", "0"), 5: ("-1", "1")})):
        if out == "link":
            shutil.rmtree(w.path("there"))
            os.mkdir(w.path("there"))
        last = wanted = wanted or last
        run = w.run("votes", "trial", path, "--scores", out, *options, "--json")
        expect(run, 0)
        line = json.loads(run.stdout)
        zero = sum(2 for a, _ in wanted.values() if a == "0")
        assert (line["scored"], line["undecided"], line["left_out"]) == (2 * len(wanted), zero, 5 - len(wanted)), line
        found = scores_of(w.path(out))
        assert found == {f"pair-00{i}-{side}": (score + "\n", f"prompt {i - 1}\n", film_of(w, "trial", left, f"pair-00{i}", side))
                         for i, own in wanted.items() for side, score in zip("ab", own)}, (out, found)
        for i in wanted:
            for side in "ab":
                with open(w.path(f"{out}/pair-00{i}-{side}.mp4"), "rb") as f:
                    assert f.read() == f"{side}{i - 1}".encode(), (out, i, side)
    assert os.path.islink(w.path("link"))
    run = w.run("votes", folder, path, "--scores", w.path("told"))
    expect(run, 0)
    assert run.stdout == plain.stdout + f"\nwrote {w.path('told')}: 8 films with scores; 1 pair without votes is left out\n".encode(), run.stdout
    run = w.run("votes", folder, write(w.path("ties.csv"), [("ann", item, "fun", "tie") for item in sorted(left)]), "--scores", w.path("ties"))
    expect(run, 0)
    assert run.stdout.endswith(b"ties: 10 films with scores\nall scores are 0: there is nothing to learn from them\n"), run.stdout
    assert "scored" not in votes_of(w, folder, path)
    assert not [name for name in os.listdir(w.folder) if name.endswith(".part")]


def test_scores_refused(w):
    """Nothing is left of a folder that could not be written."""
    table = 'prompt,film\n"two\nlines",film1\n" ' + 1023 * "x" + ' ",film2\n' + 1024 * "y" + ",film3\nfour,film4\n"
    folder, _ = compare(w, "trial", 4, "--axes", "fun,realness", table=table)
    vote = {i: write(w.path(f"vote{i}.csv"), [("ann", f"pair-00{i}", "fun", "left")]) for i in (1, 2, 3, 4)}

    def refused(number, out, *texts, options=(), status=1):
        expect(w.run("votes", folder, vote[number], "--scores", out, *options), status, *texts)
        assert not os.path.lexists(w.path("out")) and not os.path.lexists(w.path("out.part")), os.listdir(w.folder)

    expect(w.run("votes", folder, vote[2], "--score-axes", "fun"), 2, "--score-axes is for --scores")
    refused(2, "", "--scores needs the path of a folder, not ''")
    refused(2, "out", "--score-axes: no axis 'aesthetics' in this comparison; axes are fun, realness", options=["--score-axes", "fun,aesthetics"])
    refused(2, "out", "no axis ''", options=["--score-axes", ""])
    refused(2, "out", "no pair has a vote on 'realness', which --score-axes names", options=["--score-axes", "realness"])
    refused(2, "nowhere/out", "cannot make the folder 'nowhere/out.part': No such file")
    refused(2, "vote2.csv", "'vote2.csv': Not a directory")
    refused(1, "out", "the prompt of pair-001 has more than one line", "trial/key.csv'")
    refused(3, "out", "the prompt of pair-003 is longer", "at most 1023 bytes")
    refused(2, "trial", "the folder 'trial' of --scores is not empty, it has '")
    os.mkdir(w.path("hidden"))
    with open(w.path("hidden/.x"), "wb"):
        pass
    refused(2, "hidden", "is not empty, it has '.x'")
    os.symlink("away", w.path("dangling"))
    refused(2, "dangling", "cannot put a folder in the place of 'dangling': Not a directory")
    assert not os.path.exists(w.path("dangling.part"))
    os.mkdir(w.path("out.part"))
    expect(w.run("votes", folder, vote[2], "--scores", "out"), 1, "'out.part' is there", "remove it")
    os.rmdir(w.path("out.part"))
    with open(folder + "/key.csv", "r+b") as f:
        key = f.read()
        f.seek(0)
        f.write(key.replace(b"four", b"\xff\xfe\xfd\xfc"))
    refused(4, "out", "the prompt of pair-004 is no UTF-8")
    with open(folder + "/key.csv", "wb") as f:
        f.write(key)
    films = w.path("trial/raters/films")
    os.rename(films + "/pair-004-left.mp4", films + "/pair-004-left.8x4x16.24-1.png")
    refused(4, "out", "pair-004-left.8x4x16.24-1.png' is a picture of frames", "FFmpeg plug-in", "folders of films")
    os.remove(films + "/pair-004-left.8x4x16.24-1.png")
    refused(4, "out", "trial/raters/films' has no film 'pair-004-left.mp4'")
    os.symlink("nothing.mp4", films + "/pair-004-left.mp4")
    refused(4, "out", "cannot link 'out.part/pair-004-", "No such file")
    expect(w.run("votes", folder, vote[2], "--scores", "out"), 0)  # the others do not matter
    assert list(scores_of(w.path("out"))) == ["pair-002-a", "pair-002-b"]
    os.rename(films, films + " away")
    expect(w.run("votes", folder, vote[2], "--scores", "more"), 1, "cannot read the folder", "raters/films")


def test_scores_learnt(w):
    """From films of a model through votes to a model that prefers some of them."""
    if not os.path.exists(os.path.join(os.path.dirname(w.program), "../../lib/plugins/mgen_ffmpeg.so")):
        raise Skip("no FFmpeg plug-in in this build, and training reads .mp4")
    model = w.copy_model("model")
    with open(w.path("prompts.txt"), "w", encoding="utf-8") as f:
        f.write("".join(f"a thing, number {i}\n" for i in range(6)))
    expect(w.run("compare", model, model, "--steps-a", "1", "--steps-b", "3", "--prompts", "prompts.txt", "--out", "trial", "--format", "mp4",
                 "-q"), 0)
    with open(w.path("trial/key.csv"), encoding="utf-8", newline="") as f:
        left = {row["item"]: row["left"] for row in csv.DictReader(f)}

    def train(out, answers, stage="try"):
        path = write(w.path(out + ".csv"), [("ann", item, "realness", cast(left, item, answer)) for item, answer in zip(sorted(left), answers)])
        expect(w.run("votes", "trial", path, "--scores", out), 0)
        return w.run("train", "--recipe", "recipe.json", "--stage", stage, "--dir", "model", "--data", out, "--frames", "8", "--size", "16", "-q")

    stage = {key: value for key, value in TINY_RECIPE["stages"][1].items() if key != "text_encoder"}
    stage |= {"name": "stay", "text_encoders": {"ul2": {"from": "text_encoder", "frozen": True}}, "start_from": "video_model", "prefer": {},
              "drop": 0, "clips": 9, "batch": 9}
    with open(w.path("recipe.json"), "w", encoding="utf-8") as f:
        json.dump({**TINY_RECIPE, "stages": [stage, {**stage, "name": "try", "save_as": "preferred"}]}, f)
    learnt = []
    for out, answers in (("liked", "aabbab"), ("disliked", "bbaaba")):
        expect(train(out, answers), 0)
        with open(w.path("model/preferred_video_model.safetensors"), "rb") as f:
            learnt.append(f.read())
    assert learnt[0] != learnt[1]  # of the same films
    expect(train("ties", ["tie"] * 6), 1, "has a score, of which preferences are learnt")
    expect(train("last", "aabbab", "stay"), 0)
    expect(w.run("generate", "a thing", "--model", "model", "--steps", "2", "--out", "film.y4m", "-q"), 0)


if __name__ == "__main__":
    sys.exit(check_cli.main(globals()))
