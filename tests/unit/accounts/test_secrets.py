"""Keys as texts: their form, their hash, and what is shown of them."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.accounts.secrets import ALPHABET, Pepper, find_prefix, make_secret, to_reference


def test_a_key_has_a_prefix_to_show_and_a_secret_to_keep() -> None:
    made = [make_secret() for _ in range(50)]
    assert len({secret.prefix for secret in made}) == len({secret.text for secret in made}) == 50
    for secret in made:
        start, prefix, rest = secret.text.split("_")
        assert (start, prefix, len(prefix), len(rest)) == ("hr", secret.prefix, 10, 49)
        assert find_prefix(secret.text) == prefix
        assert to_reference(secret.text) == to_reference(f"hr_{prefix}_…") == to_reference(f"hr_{prefix}") == prefix
    assert 62**43 > 2**256


def test_what_was_typed_wrongly_is_no_key() -> None:
    text = make_secret().text
    for place in range(3, len(text)):
        other = ALPHABET[(ALPHABET.find(text[place]) + 1) % len(ALPHABET)]
        assert find_prefix(text[:place] + other + text[place + 1 :]) is None


@given(st.text(max_size=300))
def test_anything_may_come_as_a_key(text: str) -> None:
    assert find_prefix(text) is None


def test_an_id_stays_an_id() -> None:
    assert to_reference("key_01a2") == "key_01a2"


def test_a_hash_needs_the_pepper() -> None:
    text = make_secret().text
    assert Pepper("one").hash(text) == Pepper("one").hash(text) != Pepper("two").hash(text)
    assert text.encode() not in Pepper("one").hash(text)
