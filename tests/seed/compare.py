"""Compares two images in docker-archives: their file trees after all layers, and their configs.

usage: compare.py ONE.tar OTHER.tar [IGNORED-PREFIX...]

What differs between any two builds is left out: times, and what programs write about the moment they ran.
"""

import hashlib
import json
import sys
import tarfile

VOLATILE = (
    "var/log/", "var/cache/ldconfig/", "var/cache/apt/", "var/lib/apt/lists/", "var/cache/debconf/",
    "var/lib/dpkg/status-old", "etc/ld.so.cache",
)


def digest(name, data):
    # A .pyc names the time of its source.
    if name.endswith(".pyc"):
        data = data[:8] + bytes(4) + data[12:]
    return hashlib.sha256(data).hexdigest()


def remove(tree, name):
    for path in [p for p in tree if p == name or p.startswith(name + "/")]:
        del tree[path]


def tree_of(archive, layers):
    tree = {}
    for layer in layers:
        below = dict(tree)
        with tarfile.open(fileobj=archive.extractfile(layer)) as tar:
            for entry in tar:
                name = entry.name.removeprefix("./").strip("/")
                if not name:
                    continue
                folder, _, base = name.rpartition("/")
                if base == ".wh..wh..opq":
                    for path in [p for p in below if p.startswith(folder + "/")]:
                        tree.pop(path, None)
                    continue
                if base.startswith(".wh."):
                    remove(tree, (folder + "/" if folder else "") + base[4:])
                    continue
                if not entry.isdir():
                    remove(tree, name)
                fact = (entry.type, oct(entry.mode & 0o7777), entry.uid, entry.gid)
                if entry.islnk():
                    target = entry.linkname.removeprefix("./").strip("/")
                    tree[name] = tree.get(target, fact)
                elif entry.issym():
                    tree[name] = fact + (entry.linkname,)
                elif entry.isreg():
                    data = tar.extractfile(entry).read()
                    tree[name] = (b"0",) + fact[1:] + (digest(name, data),)
                else:
                    tree[name] = fact
    return tree


def load(path):
    with tarfile.open(path) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        config = json.load(archive.extractfile(manifest["Config"]))
        size = 0
        for layer in manifest["Layers"]:
            size += archive.getmember(layer).size
        return config, tree_of(archive, manifest["Layers"]), size


def plain(config):
    kept = {k: v for k, v in config.get("config", {}).items() if v}
    labels = {k: v for k, v in kept.pop("Labels", {}).items() if not k.startswith("com.docker.compose")}
    kept.pop("ArgsEscaped", None)  # a word of Windows, which only BuildKit adds
    return {"config": kept, "labels": labels, "os": config.get("os"), "architecture": config.get("architecture")}


def main():
    ignored = VOLATILE + tuple(sys.argv[3:])
    (one, tree, size), (other, other_tree, other_size) = load(sys.argv[1]), load(sys.argv[2])
    wrong = 0
    if plain(one) != plain(other):
        wrong += 1
        print("configs differ:", json.dumps(plain(one)), json.dumps(plain(other)), sep="\n  ")
    steps = [[h.get("empty_layer", False) for h in c.get("history", [])] for c in (one, other)]
    if steps[0] != steps[1]:
        wrong += 1
        print("histories differ:", *([h.get("created_by") for h in c["history"]] for c in (one, other)), sep="\n  ")
    compared = 0
    for name in sorted(set(tree) | set(other_tree)):
        if name.startswith(ignored) or (name + "/").startswith(ignored):
            continue
        compared += 1
        if tree.get(name) != other_tree.get(name):
            wrong += 1
            if wrong < 40:
                print(f"{name}: {tree.get(name)} | {other_tree.get(name)}")
    print(f"{compared} paths compared, {wrong} differences, {size} and {other_size} bytes")
    sys.exit(1 if wrong else 0)


main()
