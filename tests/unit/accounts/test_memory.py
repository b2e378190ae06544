"""What is known by heart, what is forgotten, and what was true when it was read and is not any more."""

from headrace.accounts.directory.lookup import Changed, KnownKey, Loaded, to_caller
from headrace.accounts.directory.memory import UNKNOWN_SECONDS, KeyMemory
from headrace.accounts.limits import UNLIMITED
from headrace.accounts.values import Rights
from headrace.schema.caller import Caller


def make_key(prefix: str, *, key_id: str = "", tenant_id: str = "t") -> KnownKey:
    caller = Caller(tenant_id=tenant_id, key_id=key_id or f"key_{prefix}")
    return KnownKey(prefix=prefix, hash=b"", caller=caller, limits=UNLIMITED, works=True, expires_at=None)


def make_memory(*keys: KnownKey, most: int = 10, number: int = 5) -> KeyMemory:
    memory = KeyMemory(most)
    memory.take(Changed(number=number))
    for key in keys:
        memory.remember(key.prefix, Loaded(number=number, key=key), now=0.0)
    return memory


def test_the_least_used_is_forgotten_first() -> None:
    memory = make_memory(make_key("a"), make_key("b"), most=2)
    assert memory.find("a") is not None
    memory.remember("c", Loaded(number=5, key=make_key("c")), now=0.0)
    assert [prefix for prefix in "abc" if memory.find(prefix)] == ["a", "c"]
    assert memory.find_id("key_b") is None


def test_only_what_has_changed_is_forgotten() -> None:
    memory = make_memory(
        make_key("a"), make_key("b1", key_id="b"), make_key("b2", key_id="b"), make_key("c", tenant_id="u")
    )
    memory.take(Changed(number=6, key_ids=frozenset({"b"})))
    assert [prefix for prefix in ("a", "b1", "b2", "c") if memory.find(prefix)] == ["a", "c"]
    memory.take(Changed(number=7, tenant_ids=frozenset({"t"})))
    assert [prefix for prefix in ("a", "c") if memory.find(prefix)] == ["c"]
    memory.take(Changed(number=2, too_many=True))
    assert memory.find("c") is None


def test_what_was_read_before_a_change_is_not_remembered() -> None:
    memory = make_memory(number=5)
    memory.take(Changed(number=6, key_ids=frozenset({"key_a"})))
    memory.remember("a", Loaded(number=5, key=make_key("a")), now=0.0)
    assert memory.find("a") is None
    memory.remember("a", Loaded(number=6, key=make_key("a")), now=0.0)
    assert memory.find("a") is not None


def test_nothing_is_remembered_before_the_first_look() -> None:
    memory = KeyMemory(10)
    memory.remember("a", Loaded(number=5, key=make_key("a")), now=0.0)
    assert memory.find("a") is None


def test_that_there_is_no_key_is_remembered_for_a_moment_and_until_something_changes() -> None:
    memory = make_memory()
    nothing = Loaded(number=5, key=None)
    memory.remember("a", nothing, now=0.0)
    assert memory.is_unknown("a", now=UNKNOWN_SECONDS - 0.1)
    assert not memory.is_unknown("a", now=UNKNOWN_SECONDS)
    assert not memory.is_unknown("b", now=0.0)
    memory.take(Changed(number=5))
    assert memory.is_unknown("a", now=1.0)
    memory.take(Changed(number=6))
    assert not memory.is_unknown("a", now=1.0)


def test_made_up_prefixes_do_not_fill_the_memory() -> None:
    memory = make_memory(most=3)
    for number in range(10):
        memory.remember(str(number), Loaded(number=5, key=None), now=0.0)
    assert [number for number in range(10) if memory.is_unknown(str(number), now=0.0)] == [7, 8, 9]


def test_the_narrower_of_both_rights_holds() -> None:
    wide = Rights()
    assert to_caller("t", "k", wide, wide) == Caller(tenant_id="t", key_id="k")
    narrow = Rights(models=("a", "b"), max_priority=4, local_only=True)
    other = Rights(models=("b", "c"), max_priority=6, retains=True)
    both = to_caller("t", "k", narrow, other)
    assert both.models == frozenset({"b"})
    assert (both.max_priority, both.local_only, both.retains) == (4, True, True)
    assert to_caller("t", "k", wide, narrow).models == frozenset({"a", "b"})
