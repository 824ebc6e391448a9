"""The limits that Linux's control groups set this process, as containers do: processor time and memory.

A group limits all groups inside it, so that the least limit on the path from the process's own group to the outermost
one counts. Version 2 has one tree of groups, version 1 a tree for each controller; a system may have both.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")


def cpu_quota(root: Path = ROOT) -> float | None:
    """How many processors' time this process may use; None where there is no such limit.

    Version 2's cpu.max has the microseconds that may be used in each period, and the period: `150000 100000`.
    """
    found = []
    for group in _groups("cpu", root):
        with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
            allowed, period = _text(group / "cpu.max").split()
            found.append(int(allowed) / int(period))
        with contextlib.suppress(OSError, ValueError):
            allowed, period = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
            found.append(int(allowed) / int(period))
    return min((limit for limit in found if limit > 0), default=None)  # -1: none


def memory_left(root: Path = ROOT) -> int | None:
    """Bytes that this process's groups may still get; None where there is no such limit."""
    found = []
    for group in _groups("memory", root):
        for most, used in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):
            with contextlib.suppress(OSError, ValueError):  # no such file, or `max`
                limit = int(_text(group / f"memory.{most}"))
                found.append(max(0, limit - int(_text(group / f"memory.{used}"))))
    return min(found, default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's group and of all that it is in, of either version.

    /proc/self/cgroup has the group's path in each tree, as `4:cpu,cpuacct:/a/b` or, version 2, `0::/a/b`.
    /proc/self/mountinfo has where a tree is mounted, and which of its groups is the mount's root.
    """
    try:
        own = [line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines()]
        mounts = _text(root / "proc/self/mountinfo").splitlines()
    except OSError:
        return
    paths = {name: path for _, names, path in own for name in names.split(",")}
    for mount in mounts:
        fields, _, rest = mount.partition(" - ")
        kind, *_, options = rest.split()
        name = {"cgroup": controller, "cgroup2": ""}.get(kind)  # the tree of version 2 has no name
        if name not in paths or (name and name not in options.split(",")):
            continue
        top, point = (re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), field) for field in fields.split()[3:5])
        folder = root / point.lstrip("/")
        path = PurePosixPath(paths[name])
        inside = path.relative_to(top).parts if path.is_relative_to(top) and ".." not in path.parts else ()
        for depth in range(len(inside), -1, -1):
            yield folder.joinpath(*inside[:depth])


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="surrogateescape").strip()
