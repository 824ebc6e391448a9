"""Pictures and pages: one palette, marks that know their records, and pages that need nothing else."""

import os
import re
import stat
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest
from loopnest.output.files import replacing, save_json, save_text
from loopnest.output.page import fill, page
from loopnest.output.pictures import INK, LIGHT, SERIES, Picture, marks, themed

pytest.importorskip("matplotlib", reason="matplotlib draws the pictures")


def drawn(title="three bars and a line"):
    picture = Picture(4, 3, title=title)
    with picture as axes:
        for n, bar in enumerate(axes[0, 0].bar(range(3), [1, 2, 3], color=SERIES[:3])):
            bar.set_gid(marks(n))
        axes[0, 0].plot([0, 1], [1, 2], "o", color=INK, gid=marks(8, 9))
    return picture.svg


def test_the_palette_has_no_colour_twice():
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_marks_know_their_records_and_a_line_has_one_for_each_marker():
    elements = ElementTree.fromstring(drawn()).iter()
    found = [(e.tag.rpartition("}")[2], e.get("data-record")) for e in elements if e.get("class") == "mark"]
    assert found == [("g", "0"), ("g", "1"), ("g", "2"), ("use", "8"), ("use", "9")]


def test_a_picture_is_the_same_every_time_and_shares_no_id_with_another():
    assert drawn() == drawn()
    here, there = (set(re.findall(r' id="([^"]+)"', drawn(title))) for title in ("a", "b"))
    assert here
    assert not here & there


def test_in_a_page_no_colour_of_the_palette_is_fixed():
    svg = themed(drawn())
    assert "var(--ink)" in svg
    assert not [colour for colour in LIGHT.values() if colour in svg]
    assert "<title>" not in svg


def test_texts_that_fill_a_page_are_not_searched_for_names(tmp_path):
    (tmp_path / "template").write_text("{{a}} and {{b}}")
    assert fill(tmp_path / "template", a="{{b}}", b="<b>") == "{{b}} and <b>"


def test_a_page_escapes_its_title_and_its_data():
    text = page("a < b", "<p>body</p>", data=["</script><script>alert(1)</script>"])
    assert "<title>a &lt; b</title>" in text
    assert "<p>body</p>" in text
    assert text.count("<script") == 2


# --- saving files


def test_a_symbolic_link_stays_and_its_target_gets_the_text(tmp_path):
    """Also through two links, and where the target does not exist yet."""
    target, link, further = tmp_path / "folder" / "target", tmp_path / "link", tmp_path / "further"
    target.parent.mkdir()
    link.symlink_to("folder/target")
    further.symlink_to(link)
    for path in (link, further):
        save_text(path.name, path)
        assert link.is_symlink()
        assert further.is_symlink()
        assert target.read_text() == path.name
    assert [file.name for file in target.parent.iterdir()] == ["target"]
    link.unlink()
    link.symlink_to(link.name)
    with pytest.raises(OSError, match="symbolic links"):
        save_text("x", link)
    assert link.is_symlink()


def test_a_saved_file_keeps_the_permissions_of_the_old_one(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    file.chmod(0o640)
    save_text("new", file)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o640)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_what_is_no_regular_file_is_written_to_and_stays(tmp_path):
    pipe, link, came = tmp_path / "pipe", tmp_path / "link", []
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        reader = threading.Thread(target=lambda: came.append(pipe.read_bytes()))
        reader.start()
        save_json([path.name], path)
        reader.join(30)
        assert pipe.is_fifo()
    assert came == [b'[\n "pipe"\n]\n', b'[\n "link"\n]\n']
    assert {file.name for file in tmp_path.iterdir()} == {"pipe", "link"}


def test_a_device_stays_a_device(tmp_path):
    """One of our own, which swallows what it gets, never the machine's."""
    null = tmp_path / "null"
    try:
        os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        null.read_bytes()
    except (AttributeError, OSError) as error:
        pytest.skip(f"no device can be made or opened here: {error}")
    save_text("x", null)
    assert null.is_char_device()


def test_a_descriptor_of_a_regular_file_is_written_to(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        if not Path(f"/dev/fd/{file.fileno()}").exists():
            pytest.skip("this system has no /dev/fd")
        before = os.fstat(file.fileno()).st_ino
        with replacing(Path(f"/dev/fd/{file.fileno()}")) as inside:
            inside.write(b"text")
    assert ((tmp_path / "file").stat().st_ino, (tmp_path / "file").read_text()) == (before, "text")
