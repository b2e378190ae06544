import pytest

from headrace.worker.engines.vllm.pooling.dimensions import EmbeddingDimensions

FIXED = EmbeddingDimensions(768)
ANY = EmbeddingDimensions(768, can_shorten=True)
SOME = EmbeddingDimensions(768, can_shorten=True, lengths=(64, 256))


@pytest.mark.parametrize(
    ("known", "dimensions", "is_allowed"),
    [
        (FIXED, 768, True),
        (FIXED, 64, False),
        (ANY, 65, True),
        (ANY, 769, False),
        (SOME, 64, True),
        (SOME, 65, False),
        (SOME, 768, True),
    ],
)
def test_which_lengths_can_be_had(known: EmbeddingDimensions, dimensions: int, is_allowed: bool) -> None:
    assert known.allows(dimensions) is is_allowed


def test_a_refusal_says_what_can_be_had() -> None:
    assert "leave dimensions out" in FIXED.describe()
    assert ANY.describe() == "choose at most 768"
    assert SOME.describe() == "choose one of 64, 256, 768"
