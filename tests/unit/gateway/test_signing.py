"""Signatures in the bodies of vendors that have one string for them, and in the ids of calls."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.dialects.signed_ids import SignedId, read_signed_id, to_signed_id
from headrace.gateway.dialects.signing import (
    read_sealed,
    read_signature,
    to_thought,
    write_sealed,
    write_signature,
)
from headrace.schema.events import Signature
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS, ReasoningPart

_values = st.text(min_size=1, max_size=40) | st.binary(min_size=1, max_size=40).map(lambda raw: raw.hex())
_base64 = st.text("abcXYZ019+/", min_size=1, max_size=12).map(lambda text: text + "=" * (-len(text) % 4))
_signatures = st.builds(Signature, _values | _base64, st.just("gemini"))


def test_the_vendors_own_signature_stands_there_as_it_is() -> None:
    assert write_signature(Signature("EqQB+/==", "anthropic"), home="anthropic") == "EqQB+/=="
    assert read_signature("EqQB+/==", home="anthropic") == Signature("EqQB+/==", "anthropic")
    assert write_signature(Signature("EqQB+/==", "gemini"), home="anthropic") == "gemini:EqQB+/=="
    assert read_signature("gemini:EqQB+/==", home="anthropic") == Signature("EqQB+/==", "gemini")


@pytest.mark.parametrize("text", ["", "gen_0123", "gemini:"])
def test_what_is_no_signature(text: str) -> None:
    assert read_signature(text, home="anthropic") is None
    assert read_sealed(text, home="openai") is None


@given(st.text(min_size=1), st.sampled_from(["gemini", "openai"]), st.booleans())
def test_another_vendors_signature_comes_back(value: str, vendor: str, is_redacted: bool) -> None:
    signature = Signature(value, vendor)
    assert read_signature(write_signature(signature, home="anthropic"), home="anthropic") == signature
    sealed = Signature(value if is_redacted else f"x{value}", vendor, is_redacted)
    assert read_sealed(write_sealed(sealed, home="anthropic"), home="anthropic") == sealed


def test_a_thought_that_only_its_vendor_can_read_has_no_text() -> None:
    assert to_thought("Hm.", Signature("s", "openai", is_redacted=True)) == ReasoningPart(
        "", "s", "openai", is_redacted=True
    )
    assert to_thought("Hm.", None) == ReasoningPart("Hm.")


@given(st.text("abc_-0", min_size=1, max_size=12), st.none() | _signatures)
def test_an_id_brings_its_signature_back(call_id: str, signature: Signature | None) -> None:
    signed = to_signed_id(call_id, signature)
    assert read_signed_id(signed) == SignedId(call_id, signature)
    assert re.fullmatch("[a-zA-Z0-9_-]+", signed)


@pytest.mark.parametrize("inner", ["--sig-", "--hex-"])
def test_a_signature_that_looks_like_a_mark_comes_back(inner: str) -> None:
    # Base64 for the address of a page is not that of a body: these letters are those of the former.
    value = inner.replace("-", "+") + "00"
    for signature in (Signature(value, "gemini"), None):
        assert read_signed_id(to_signed_id("fc1", signature)) == SignedId("fc1", signature)


def test_an_id_of_another_gateway_comes_back_as_it_was() -> None:
    theirs = to_signed_id("fc1", Signature("c2lnbmVk", "gemini"))
    assert theirs == "fc1--sig-c2lnbmVk"
    for signature in (None, Signature("b3Vycw==", "gemini")):
        assert read_signed_id(to_signed_id(theirs, signature)) == SignedId(theirs, signature)


def test_signatures_of_others_are_in_no_id() -> None:
    assert to_signed_id("call_1", Signature("s", "anthropic")) == "call_1"


@pytest.mark.parametrize("text", ["call_1", "fc--sig-é", "fc--sig-a", "fc--hex-zz", "fc--hex-ff"])
def test_an_id_without_a_signature_is_left_alone(text: str) -> None:
    assert read_signed_id(text) == SignedId(text)


def test_what_no_vendor_signs_is_not_taken_for_a_signature() -> None:
    long = "x" * (MAX_SIGNATURE_CHARACTERS + 1)
    assert read_signature(long, home="anthropic") is None
    assert read_signature(f"gemini:{long}", home="anthropic") is None
    signed = to_signed_id("call_1", Signature(long, "gemini"))
    assert read_signed_id(signed) == SignedId(signed)
