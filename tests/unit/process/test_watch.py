"""A file that has become another one is noticed, however that happened."""

from pathlib import Path

from headrace.process.config import settings_path
from headrace.process.watch import WatchedFile


async def test_a_file_is_noticed_when_it_is_written_replaced_or_made(tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    watched = WatchedFile(path)
    assert not await watched.has_changed()
    path.write_text("a")
    assert await watched.has_changed()
    assert not await watched.has_changed()
    path.write_text("longer")
    assert await watched.has_changed()
    other = tmp_path / "other"
    other.write_text("longer")
    other.replace(path)
    assert await watched.has_changed()


async def test_a_file_that_is_gone_is_no_change_until_it_is_back(tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    path.write_text("a")
    watched = WatchedFile(path)
    path.unlink()
    assert not await watched.has_changed()
    path.write_text("a")
    assert await watched.has_changed()


async def test_a_link_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("same")
    link = tmp_path / "headrace.toml"
    link.symlink_to("one")
    watched = WatchedFile(link)
    beside = tmp_path / "beside"
    beside.symlink_to("two")
    beside.replace(link)
    assert await watched.has_changed()


def test_the_file_that_is_watched_is_the_one_that_is_read() -> None:
    assert settings_path(config="a.toml", environ={"HEADRACE_CONFIG": "b.toml"}) == Path("a.toml")
    assert settings_path(config=None, environ={"HEADRACE_CONFIG": "b.toml"}) == Path("b.toml")
    assert settings_path(config=None, environ={}) == Path("headrace.toml")
