"""How long the vectors of a model may be made."""

from msgspec import Struct


class EmbeddingDimensions(Struct, frozen=True):
    """What a model's vectors can be cut to.

    Attributes:
        own: its own length.
        can_shorten: it was trained so that the first part of a vector is a vector too.
        lengths: the only lengths it knows; empty is any up to its own.
    """

    own: int
    can_shorten: bool = False
    lengths: tuple[int, ...] = ()

    def allows(self, dimensions: int) -> bool:
        """Tell whether vectors of this length can be had."""
        if dimensions == self.own:
            return True
        return self.can_shorten and dimensions < self.own and (not self.lengths or dimensions in self.lengths)

    def describe(self) -> str:
        """Return what can be had, for a message."""
        if not self.can_shorten:
            return f"its embeddings have {self.own}, and it was not trained to shorten them; leave dimensions out"
        if self.lengths:
            return f"choose one of {', '.join(map(str, sorted({*self.lengths, self.own})))}"
        return f"choose at most {self.own}"
